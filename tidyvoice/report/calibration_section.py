"""The section on calibration: what the scores mean as log-likelihood ratios."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.special import expit

from tidyvoice.evaluation.categories import POOLED
from tidyvoice.report.calibration_figures import (
    bayes_error_picture,
    cost_picture,
    reliability_picture,
)
from tidyvoice.report.curves import LLR_EDGES, Reliability
from tidyvoice.report.figures import named
from tidyvoice.report.markup import absent, folded, grid, section, signed, table
from tidyvoice.report.results import DASH
from tidyvoice.report.system import SystemResult
from tidyvoice.scoring.metrics import Costs


def calibration_section(results: Sequence[SystemResult], points: Sequence[Costs]) -> str:
    """Cost against threshold, reliability and normalised Bayes error."""
    main, costs = results[0], points[0]
    curves = named(main.costs)
    threshold = costs.threshold if main.calibrated else None
    figures = [
        (
            cost_picture("cost", f"Cost of {main.name} by threshold", curves, threshold),
            f"Normalised DCF of {main.name} at P {costs.p_target:g} against the threshold, "
            "targets/non-targets; a dot is a minimum. Minima at different thresholds are a loss "
            "that no single threshold makes good.",
        ),
        (
            bayes_error_picture(
                "bayes-error",
                "Normalised Bayes error",
                {result.name: result.bayes_error for result in results},
                [-at.threshold for at in points],
            ),
            "Normalised DCF against the prior (normalised Bayes error): actual, at the Bayes "
            "threshold, of log-likelihood ratios; minimum, at the best threshold. The dotted lines "
            "are the operating points.",
        ),
    ]
    llrs = {r.name: r.costs[POOLED] for r in results if r.calibrated}
    if len(llrs) > 1:
        figures.append(
            (
                cost_picture("cost-systems", "Cost by threshold", llrs, costs.threshold),
                f"Normalised DCF at P {costs.p_target:g} against the threshold, of the systems "
                "whose scores are log-likelihood ratios.",
            )
        )
    text = ""
    llr = {r.name: r.reliability for r in results if r.reliability is not None}
    if main.reliability is not None:
        figures.insert(
            0,
            (
                reliability_picture("reliability", f"Reliability of {main.name}", llr),
                "Reliability: predicted and observed log odds of a target at prior 0.5, in bins "
                f"of the log-likelihood ratio; below, the trials of {main.name} in each bin.",
            ),
        )
        text = folded(
            f"The bins of {main.name} as a table",
            table(
                "reliability-bins",
                "Reliability",
                [
                    "Log-likelihood ratio",
                    "Targets",
                    "Non-targets",
                    "Predicted targets (%)",
                    "Observed targets (%)",
                ],
                _bins(main.reliability),
            ),
        )
    else:
        text = absent(
            f"No reliability for {main.name}: it takes log-likelihood ratios, and these scores are "
            "not known to be any."
        )
    return section("calibration", "Calibration", grid(figures) + text)


def _bins(found: Reliability) -> list[list[str]]:
    edges = [signed(edge, "g") for edge in LLR_EDGES]
    names = [f"below {edges[0]}"]
    names += [f"{low} to {high}" for low, high in pairwise(edges)]
    names.append(f"{edges[-1]} and above")
    return [
        [
            name,
            f"{targets:,}",
            f"{nontargets:,}",
            *(DASH if np.isnan(odds) else f"{100 * expit(odds):.2f}" for odds in (said, seen)),
        ]
        for name, targets, nontargets, said, seen in zip(
            names,
            found.targets.tolist(),
            found.nontargets.tolist(),
            found.predicted,
            found.observed,
            strict=True,
        )
    ]
