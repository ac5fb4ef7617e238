"""The command `capacity calibrate`: how wrong the calibrated models are, and a fit of a user's own measurements."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optimizer.performance.training_points import TrainingPoint
    from optimizer.report.page import Page
    from optimizer.report.waiting import Waiting
    from optimizer.spec.catalog import Catalog

GOOD = 0
Write = Callable[[Path], None]
Made = tuple["Page", Write, str | None]
"""Of a fit: its page, what writes the file, and what is wrong with it."""
WHERE = "calibrate"  # stands in messages where a file would be named


def add_calibrate_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("points", nargs="?", metavar="POINTS.csv", help="own measurements, in the columns of the catalog's tables")
    parser.add_argument("--out", metavar="FILE.yaml", help="write the calibration there: DIR/calibration/serving.yaml of a catalog")
    parser.add_argument(
        "--report", action="store_true", help="print the errors of the catalog's calibrations (without POINTS: the default)"
    )
    parser.add_argument(
        "--new-stack", action="append", default=[], metavar="NAME", help="a serving stack of your own: it starts from the prior"
    )
    parser.add_argument("--training", action="store_true", help="training instead of serving")
    parser.add_argument("--catalog", metavar="DIR", help="another catalog directory")
    parser.add_argument("--verbose", action="store_true", help="show where an unexpected error happened")


def run_calibrate(options: argparse.Namespace) -> int:
    """Prints the page, writes the file. Raises CaseError for wrong input."""
    from optimizer.report.page import line, print_page, unbroken
    from optimizer.report.waiting import Waiting
    from optimizer.spec import CaseError
    from optimizer.spec.catalog import Catalog, shipped_catalog

    folder = shipped_catalog() if options.catalog is None else Path(options.catalog)
    if not folder.is_dir():
        raise CaseError(WHERE, "--catalog", f"`{folder}` is not a directory", "give the directory of a catalog")
    if options.points is None and options.out is not None:
        raise CaseError(WHERE, "--out", "is given without measurements", "name the file of your measurements as well")
    if options.points is not None and options.out is None:
        raise CaseError(WHERE, "--out", "is missing", "name the file that the fitted calibration goes to")
    if options.new_stack and (options.points is None or options.training):
        raise CaseError(WHERE, "--new-stack", "is given without serving measurements", "leave it away")
    out = _checked_out(options.out)
    catalog, page, write, warning = Catalog(folder), [], None, None
    with Waiting(what="fitting") as waiting:
        if options.points is not None:
            make = _own_training if options.training else partial(_own_serving, stacks=options.new_stack)
            page, write, warning = make(Path(options.points), catalog, waiting)
        if options.points is None or options.report:
            page += _report(catalog, waiting, serving=not options.training)
    if write is not None and out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write(out)
        page.append(unbroken(f"\nResults: {out}" + ("" if warning is None else f" (warning: {warning})")))
    else:
        page.append(line("\nNothing was written; POINTS.csv --out FILE.yaml fits your own measurements."))
    print_page(page, sys.stdout)
    return GOOD


def _report(catalog: Catalog, waiting: Waiting, serving: bool) -> Page:
    """Serving and training, or training alone."""
    from optimizer.performance.training_calibration import calibrate_training
    from optimizer.performance.training_parameters import load_training_calibration
    from optimizer.performance.training_points import read_training_points
    from optimizer.report.calibration_page import serving_page, training_page
    from optimizer.report.page import line

    page: Page = []
    calibrations, measurements = catalog.folder / "calibration", catalog.folder / "measurements"
    if serving:
        from optimizer.performance.first_token_errors import first_token_report
        from optimizer.performance.serving_calibration import read_serving_calibration
        from optimizer.performance.serving_errors import error_report

        waiting.says("fitting the serving model with points, chips and models left out")
        known = read_serving_calibration(calibrations / "serving.yaml")
        page += [*serving_page(error_report(catalog), first_token_report(catalog, known), known.fitted_from, known.date), line("")]
    waiting.says("fitting training")
    trained = load_training_calibration(calibrations / "training.yaml")
    fit = calibrate_training(read_training_points(measurements / "training.csv"))
    return [*page, *training_page(fit, trained.fitted_from, trained.date)]


def _own_serving(path: Path, catalog: Catalog, waiting: Waiting, stacks: list[str]) -> Made:
    from optimizer.performance.own_measurements import fit_own_measurements
    from optimizer.performance.own_points import known_stacks, read_own_points
    from optimizer.performance.serving_calibration import read_serving_calibration, write_serving_calibration
    from optimizer.report.calibration_page import growth_warning, own_page
    from optimizer.spec import CaseError

    base = read_serving_calibration(catalog.folder / "calibration" / "serving.yaml")
    waiting.says("fitting your measurements")
    try:
        points = read_own_points(path, catalog, base, stacks)
        own = fit_own_measurements(points, base, f"{base.fitted_from}, then {path.name}", date.today())
    except CaseError:
        raise
    except ValueError as error:  # no rows, a fit that does not settle or that no chip could be
        raise CaseError(path, "", " ".join(str(error).split()), "check the measurements") from error
    new = [name for name in dict.fromkeys(stacks) if name not in known_stacks(catalog, base)]
    page = own_page(own, path.name, len(points), new)
    return page, partial(write_serving_calibration, own.calibration), growth_warning(own.errors)


def _own_training(path: Path, catalog: Catalog, waiting: Waiting) -> Made:
    """Own rows are added to those of the catalog: the fit has no posterior to start from."""
    from optimizer.performance.training_calibration import calibrate_training, own_errors
    from optimizer.performance.training_parameters import calibration_of, calibration_text
    from optimizer.performance.training_points import read_training_points
    from optimizer.report.calibration_page import growth_warning, own_runs_page, training_page
    from optimizer.report.text_files import write_text
    from optimizer.spec import CaseError

    waiting.says("fitting your measurements")
    own, published = read_training_points(path), read_training_points(catalog.folder / "measurements" / "training.csv")
    try:
        _check_peaks(path, own, catalog)
        fit = calibrate_training((*published, *own))
        errors = own_errors(fit, published, own)
    except CaseError:
        raise
    except ValueError as error:
        raise CaseError(path, "", " ".join(str(error).split()), "check the measurements") from error
    made = calibration_of(fit, f"measurements/training.csv and {path.name}", date.today())
    page = [*training_page(fit, made.fitted_from, made.date), *own_runs_page(errors)]
    return page, lambda out: write_text(out, calibration_text(made)), growth_warning(errors)


def _check_peaks(path: Path, own: Iterable[TrainingPoint], catalog: Catalog) -> None:
    """A peak that is written too high hides a rate that no chip has: those of the catalog's chips are held against it."""
    from optimizer.spec import CaseError

    for number, point in enumerate(own, start=2):
        chip = catalog.chips.get(point.chip)
        peak = None if chip is None else getattr(chip, f"{point.precision}_dense_tflops")
        if peak is not None and point.tflops_per_chip > peak:
            problem = f"is {point.tflops_per_chip:g}, {point.tflops_per_chip / peak:.3g} times the {point.precision} peak of {point.chip}"
            remedy = f"write the rate of one chip, not of a node, and check the precision; the dense peak is {peak:g}"
            raise CaseError(path, f"row {number}.training_tflops_per_chip", problem, remedy)


def _checked_out(name: str | None) -> Path | None:
    """Before any work, where the file could not be written."""
    from optimizer.report.text_files import refuse_unwritable
    from optimizer.spec import CaseError

    if name is None:
        return None
    if Path(name).suffix not in (".yaml", ".yml"):
        raise CaseError(WHERE, "--out", f"is {name}", "name a file that ends in .yaml")
    try:
        refuse_unwritable(name, directory=False)
    except OSError as error:
        raise CaseError(WHERE, "--out", " ".join(str(error).split()), "name a file that can be written") from error
    return Path(name)
