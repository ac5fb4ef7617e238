"""The arithmetic beside the published figures on renting and owning accelerators (published analysis, 2025-11): no plan is made here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SCALES = (10_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000)
RENT_USD, PRICE_USD, OPEX_USD, LIFE_YEARS = 30_000, 35_000, 5_000, 4  # per accelerator; rent and operations a year
OWN_USD = PRICE_USD / LIFE_YEARS + OPEX_USD  # a year
SAVING_USD = RENT_USD - OWN_USD
UPFRONT_BUSD, RUNNING_BUSD, RENTED_BUSD = 50, (12, 12, 12, 12), (25, 30, 35, 40)  # the published four years of a million
STAFF = 550  # people who run own chips, the most that is published
COMES = 0.45  # probability of the work in may_not_come.yaml
CHIP_KW = 1.44 * 1.2  # provisioned power of an h100 in the catalog, times the PUE of the site
HALF, FULL = 500_000, 1_000_000


def unit_table() -> str:
    """A year of renting and of owning at every published scale."""
    rows = [[f"{n:,}", *(f"{n * usd / 1e9:,.4g}" for usd in (RENT_USD, OWN_USD, SAVING_USD))] for n in SCALES]
    return markdown(["chips", "rented, B$ a year", "owned, B$ a year", "saving, B$ a year"], rows)


def claims_table() -> str:
    """The published figures beside what their own inputs give."""
    owned, rented = UPFRONT_BUSD + sum(RUNNING_BUSD), sum(RENTED_BUSD)
    factor = [1.08 ** -(year + 0.5) for year in range(LIFE_YEARS)]
    owned_now = UPFRONT_BUSD + sum(f * v for f, v in zip(factor, RUNNING_BUSD, strict=True))
    rented_now = sum(f * v for f, v in zip(factor, RENTED_BUSD, strict=True))
    cash, fixed = RENT_USD - OPEX_USD, 200_000 * SAVING_USD
    by_units = FULL * (PRICE_USD + LIFE_YEARS * OPEX_USD) / 1e9, FULL * LIFE_YEARS * RENT_USD / 1e9
    found = {
        "owning costs 13,750 $ a year": (f"{PRICE_USD:,} / {LIFE_YEARS} + {OPEX_USD:,} = {OWN_USD:,.0f}", "holds, undiscounted"),
        "owning is 2.2 times as good": (
            f"{RENT_USD:,} / {OWN_USD:,.0f} = {RENT_USD / OWN_USD:.2f}",
            "holds if it is always busy",
        ),
        "payback 2.2 years": (
            f"{PRICE_USD:,} / {SAVING_USD:,.0f} = {PRICE_USD / SAVING_USD:.2f} years",
            f"counts the price twice: the saving of {SAVING_USD:,.0f} already bears it",
        ),
        "(payback on cash)": (f"{PRICE_USD:,} / ({RENT_USD:,} - {OPEX_USD:,}) = {PRICE_USD / cash:.1f} years", "when the cash is back"),
        "40 % owned at a million saves about 10 B$ a year": (
            f"0.4 x {FULL * SAVING_USD / 1e9:.2f} = {0.4 * FULL * SAVING_USD / 1e9:.1f} B$",
            "does not hold",
        ),
        "four years owned: 98 B$": (f"{UPFRONT_BUSD} + {' + '.join(map(str, RUNNING_BUSD))} = {owned}", "the sum holds"),
        "four years rented: 130 B$": (f"{' + '.join(map(str, RENTED_BUSD))} = {rented}", "the sum holds"),
        "renting costs 33 % more": (f"{rented} / {owned} = {rented / owned:.2f}", "holds, undiscounted"),
        "(the same at 8 % a year)": (
            f"{rented_now:.1f} / {owned_now:.1f} = {rented_now / owned_now:.2f}",
            "owning pays earlier, so its edge shrinks",
        ),
        "owning is 2.5 to 3 times as good, 60 to 75 % cheaper": (
            f"{rented / owned:.2f} times; 1 - {owned} / {rented} = {1 - owned / rented:.0%}",
            "does not hold in that table",
        ),
        "(four years owned, by the unit costs)": (f"1M x (35,000 + 4 x 5,000) = {by_units[0]:.0f} B$", f"the table says {owned}"),
        "(four years rented, by the unit costs)": (f"1M x 4 x 30,000 = {by_units[1]:.0f} B$", f"the table says {rented}"),
        "staff of 270 to 550 when owning": (
            f"200,000 x {SAVING_USD:,.0f} = {fixed / 1e9:.2f} B$ a year saved at 200,000; / {STAFF} = {fixed / STAFF / 1e6:.1f} M$ each",
            "staff makes no threshold at 200,000",
        ),
    }
    return markdown(["published (or beside it)", "arithmetic", "finding"], [[claim, *told] for claim, told in found.items()])


def threshold_table() -> str:
    """What each published recommendation takes, by the closed form of each reason."""
    dear = LIFE_YEARS * (RENT_USD - OPEX_USD)
    mw, capital = 0.4 * HALF * CHIP_KW / 1000, 0.4 * HALF * PRICE_USD / 1e9
    supply = 0.6 * HALF / (1 - 0.4 * (1 - COMES))  # owned / (owned + COMES x rented) = 0.4
    rising = [owned_of_rent_supply(n, supply) for n in (200_000, HALF, FULL, 2_000_000)]
    cloud, hybrid, most, must = (
        f"{n}: {said}"
        for n, said in (
            ("200,000", "cloud viable"),
            ("500,000", "40 % own"),
            ("1,000,000", "ownership strongly recommended"),
            ("2,000,000", "must own"),
        )
    )
    falling = ", ".join(f"{min(1.0, 0.4 * HALF / n):.0%}" for n in (200_000, HALF, FULL, 2_000_000))
    rows = [
        [cloud, "the unit costs alone", f"no: owning saves {SAVING_USD:,.0f} $ a chip and year at every scale"],
        [
            cloud,
            f"a price above {dear:,} $, a rent below {OWN_USD:,.0f} $ a year, or chips busy less than {OWN_USD / RENT_USD:.1%} of the time",
            "nothing is owned, at any scale: no threshold",
        ],
        [cloud, f"a fixed cost of owning of {200_000 * SAVING_USD / 1e9:.2f} B$ a year", "yes: all rented below 200,000, all owned above"],
        [
            hybrid,
            f"a capital of {capital:g} B$, {0.4 * HALF:,.0f} own chips, or {mw:g} MW",
            f"yes, but falling with scale: {falling} own at 200,000, 500,000, 1M, 2M",
        ],
        [
            hybrid,
            f"at most {supply:,.0f} chips to rent, and work that comes with a probability of {COMES:.0%}",
            f"yes, and rising: {', '.join(f'{share:.0%}' for share in rising)} own at 200,000, 500,000, 1M, 2M",
        ],
        [most, "the unit costs alone", "no more than at 10,000"],
        [most, "that supply of rent", f"yes: {rising[2]:.0%} own"],
        [must, "that supply of rent", f"yes: what cannot be rented is owned or not done; {rising[3]:.0%} own"],
        [must, "any other reason here", "no"],
        ["any", "uncertain demand or lead time alone", "no: they move the own share by as much at every scale"],
    ]
    return markdown(["published", "assumption", "does it come out"], rows)


def owned_of_rent_supply(chips: float, supply: float) -> float:
    """Own share of the compute where work of so many chips comes with probability COMES, and only the supply can be rented."""
    owned = max(0.0, chips - supply)
    return owned / (owned + COMES * min(chips, supply))


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
