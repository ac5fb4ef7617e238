"""The command `capacity calibrate`: how wrong the calibrated models are, and a fit of a user's own measurements."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optimizer.report.page import Page
    from optimizer.report.waiting import Waiting
    from optimizer.spec.catalog import Catalog

GOOD = 0
Write = Callable[[Path], None]
WHERE = "calibrate"  # stands in messages where a file would be named


def add_calibrate_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("points", nargs="?", metavar="POINTS.csv", help="own measurements, in the columns of the catalog's tables")
    parser.add_argument("--out", metavar="FILE.yaml", help="write the calibration there: DIR/calibration/serving.yaml of a catalog")
    parser.add_argument(
        "--report", action="store_true", help="print the errors of the catalog's calibrations (without POINTS: the default)"
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
    out = _checked_out(options.out)
    catalog, page, write = Catalog(folder), [], None
    with Waiting(what="fitting") as waiting:
        if options.points is not None:
            make = _own_training if options.training else _own_serving
            page, write = make(Path(options.points), catalog, waiting)
        if options.points is None or options.report:
            page += _report(catalog, waiting, serving=not options.training)
    if write is not None and out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write(out)
        page.append(unbroken(f"\nResults: {out}"))
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


def _own_serving(path: Path, catalog: Catalog, waiting: Waiting) -> tuple[Page, Write]:
    from optimizer.performance.measured_points import read_points
    from optimizer.performance.own_measurements import fit_own_measurements
    from optimizer.performance.serving_calibration import read_serving_calibration, write_serving_calibration
    from optimizer.report.calibration_page import own_page
    from optimizer.spec import CaseError

    base = read_serving_calibration(catalog.folder / "calibration" / "serving.yaml")
    waiting.says("fitting your measurements")
    try:
        points = read_points(path, catalog)
        own = fit_own_measurements(points, base, f"{base.fitted_from}, then {path.name}", date.today())
    except CaseError:
        raise
    except ValueError as error:  # no rows, or a fit that does not settle
        raise CaseError(path, "", " ".join(str(error).split()), "check the measurements") from error
    return own_page(own, path.name, len(points)), partial(write_serving_calibration, own.calibration)


def _own_training(path: Path, catalog: Catalog, waiting: Waiting) -> tuple[Page, Write]:
    """Own rows are added to those of the catalog: the fit has no posterior to start from."""
    from optimizer.performance.training_calibration import calibrate_training
    from optimizer.performance.training_parameters import calibration_of, calibration_text
    from optimizer.performance.training_points import read_training_points
    from optimizer.report.calibration_page import training_page
    from optimizer.report.files import write_text

    waiting.says("fitting your measurements")
    own = read_training_points(path)
    fit = calibrate_training((*read_training_points(catalog.folder / "measurements" / "training.csv"), *own))
    made = calibration_of(fit, f"measurements/training.csv and {path.name}", date.today())
    return training_page(fit, made.fitted_from, made.date), lambda out: write_text(out, calibration_text(made))


def _checked_out(name: str | None) -> Path | None:
    """Before any work, where the file could not be written."""
    from optimizer.report.files import refuse_unwritable
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
