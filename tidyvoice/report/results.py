"""The tables of results: systems, their differences, categories; and what the figures rest on."""

from collections.abc import Sequence
from html import escape

from tidyvoice.evaluation.bootstrap import LEVEL
from tidyvoice.evaluation.categories import CATEGORIES, POOLED, Row
from tidyvoice.evaluation.tables import count, decimals, percent
from tidyvoice.report.comparison import Comparison, Difference, compare
from tidyvoice.report.markup import absent, note, row, scroll, section, signed, table, value
from tidyvoice.report.system import SystemResult
from tidyvoice.scoring.metrics import Costs
from tidyvoice.scoring.provenance import FLAWS, UNKNOWN_ORIGIN

DASH = "–"
NO_SPEAKERS = "neither a utt2spk file nor ids SPEAKER/folder/file"
NO_LANGUAGES = "No languages: neither a utt2lang file nor ids speaker/LANGUAGE/file."


def lead(results: Sequence[SystemResult]) -> str:
    """The main result in a sentence, and a warning where a system's scores flatter."""
    main = results[0]
    pooled = main.rows[0]
    rate, bounds = f"{percent(pooled.eer)} %", ""
    if pooled.eer_interval:
        bounds = percent(pooled.eer, pooled.eer_interval).partition(" ")[2]
        bounds = f' <span class="bounds">{bounds}</span>'
    of = [f"{pooled.targets + pooled.nontargets:,} trials"]
    of += [f"{len(main.speakers.names):,} speakers"] if main.speakers else []
    of += [f"{len(main.languages.names):,} languages"] if main.languages else []
    said = (
        f'<p class="lead">{escape(main.name)}: <strong>EER {rate}</strong>{bounds}, minDCF '
        f"{decimals(pooled.min_dcf)}: {', '.join(of)}.</p>"
    )
    for mark, (title, meaning) in FLAWS.items():
        items = "".join(
            f"<li>{escape(result.name)}: {escape(reason)}.</li>"
            for result in results
            for reason in result.lineage.flaws.get(mark, ())
        )
        if items:
            said += (
                f'\n<aside class="flaw"><p><strong>{title}.</strong> {meaning}</p>'
                f"<ul>{items}</ul></aside>"
            )
    return said


def results_section(
    results: Sequence[SystemResult], points: Sequence[Costs], resamples: int
) -> str:
    """The systems' metrics, what they differ by, and the main system's categories."""
    body = _summary(results, points, resamples) + _categories(results[0], points)
    return section("results", "Results", body)


def _summary(results: Sequence[SystemResult], points: Sequence[Costs], resamples: int) -> str:
    several = len(results) > 1
    body = "".join(
        row(_system(result), kind="main" if several and number == 0 else "")
        for number, result in enumerate(results)
    )
    parts = [f"<tbody>{body}</tbody>"]
    compared = [found for other in results[1:] if (found := compare(results[0], other))]
    columns = 9 + len(points)
    if compared:
        title = f"Difference to {escape(results[0].name)}"
        group = f'<tr class="group"><th scope="rowgroup" colspan="{columns}">{title}</th></tr>'
        body = "".join(row(_difference(found)) for found in compared)
        parts.append(f"<tbody>{group}{body}</tbody>")
    priors = "".join(f'<th scope="col">P {at.p_target:g}</th>' for at in points)
    categories = "".join(
        f'<th scope="col">{name.replace("/", "/<wbr>")}</th>' for name in CATEGORIES
    )
    markup = f"""<table class="wide" id="summary">
<thead><tr><th scope="col" rowspan="2">System</th><th scope="col" rowspan="2">EER</th>
<th scope="colgroup" colspan="{len(points)}" class="span"><span>minDCF</span></th>
<th scope="col" class="span"><span>actDCF</span></th>
<th scope="col" rowspan="2">Cllr</th><th scope="col" rowspan="2">minCllr</th>
<th scope="colgroup" colspan="4" class="span">
<span>EER by category, targets/non-targets</span></th></tr>
<tr class="break">{priors}<th scope="col">P {points[0].p_target:g}</th>{categories}</tr></thead>
{"".join(parts)}</table>"""
    return scroll(markup, "Summary") + _remarks(results, points, resamples, bool(compared))


def _system(result: SystemResult) -> list[str]:
    pooled, *others = result.rows
    name = escape(result.name)
    marks = [FLAWS[mark][0].lower() for mark in result.lineage.flaws]
    marks += [] if result.lineage.known else [UNKNOWN_ORIGIN]
    name += "".join(f' <span class="mark">{mark}</span>' for mark in marks)
    cells = [name, value(percent(pooled.eer, pooled.eer_interval))]
    for number, point in enumerate(pooled.points):
        interval = None if number else point.min_dcf_interval
        cells.append(value(decimals(point.min_dcf, interval)))
    cells += [_actual(result, pooled.act_dcf), _actual(result, pooled.cllr)]
    cells.append(decimals(pooled.min_cllr))
    cells += [percent(one.eer) for one in others]
    return cells


def _actual(result: SystemResult, cost: float | None) -> str:
    """A cost that takes scores for log-likelihood ratios: not shown of others."""
    return decimals(cost) if result.calibrated else f'<span class="muted">{DASH}</span>'


def _difference(found: Comparison) -> list[str]:
    dash = f'<span class="muted">{DASH}</span>'
    cells = [escape(found.name), _signed(found.eer[POOLED], 100, 2)]
    cells += [_signed(one, 1, 3) for one in found.min_dcf]
    cells += [dash] * 3
    cells += [_signed(found.eer[category], 100, 2) for category in CATEGORIES]
    return cells


def _signed(found: Difference | None, scale: float, places: int) -> str:
    if found is None:
        return f'<span class="muted">{DASH}</span>'

    def write(number: float) -> str:
        return signed(scale * number, f"+.{places}f")

    text = write(found.value)
    if found.sure:
        text = f"<strong>{text}</strong>"
    if found.interval is None:
        return text
    low, high = (write(end) for end in found.interval)
    return f"{text}<small>[{low}, {high}]</small>"


def _remarks(
    results: Sequence[SystemResult], points: Sequence[Costs], resamples: int, compared: bool
) -> str:
    at = "; ".join(
        f"P<sub>target</sub> {p.p_target:g}, C<sub>miss</sub> {p.c_miss:g}, "
        f"C<sub>fa</sub> {p.c_fa:g}"
        for p in points
    )
    notes = [
        f"EER in percent; detection costs are normalised ({at}); Cllr in bits. A category sets "
        "target trials in the same or in different languages against non-target trials in the "
        "same or in different languages."
    ]
    drawn = next((result for result in results if result.resampled), None)
    if drawn is not None:
        notes.append(
            f"Brackets: {100 * LEVEL:g} % confidence intervals, percentiles of {resamples:,} "
            f"resamples of the {len(drawn.speakers.names):,} speakers, with replacement."
        )
    if compared and drawn is not None:
        notes.append(
            "Differences are taken resample by resample, with the same speakers drawn for both "
            "systems; bold where the interval leaves out 0."
        )
    text = note(" ".join(notes))
    if len({result.checksum for result in results}) > 1:
        text += note(
            "The systems were scored on different trial lists; a difference is shown only where "
            "the list is that of the main system."
        )
    without = [result.name for result in results if result.speakers is None]
    if not resamples:
        text += absent("No confidence intervals: no resamples were asked for.")
    elif without:
        text += absent(
            f"No confidence intervals for {', '.join(without)}: the speakers are not known "
            f"({NO_SPEAKERS})."
        )
    raw = [result.name for result in results if not result.calibrated]
    if raw:
        text += absent(
            f"No actDCF and no Cllr for {', '.join(raw)}: both judge log-likelihood ratios, and "
            "these scores are not known to be any; calibrate them."
        )
    return text


def _categories(result: SystemResult, points: Sequence[Costs]) -> str:
    head = ["Targets/non-targets", "Targets", "Non-targets", "EER"]
    head += [f"minDCF, P {at.p_target:g}" for at in points]
    head += [f"actDCF, P {points[0].p_target:g}", "Cllr", "minCllr"]
    rows = [_category(result, one, len(points)) for one in result.rows]
    text = f"<h3>{escape(result.name)}, by category</h3>\n"
    text += table("categories", "By category", head, rows)
    return text if result.languages else text + absent(NO_LANGUAGES)


def _category(result: SystemResult, found: Row, points: int) -> list[str]:
    cells = [found.category, count(found.targets), count(found.nontargets)]
    cells.append(value(percent(found.eer, found.eer_interval)))
    cells += [value(decimals(p.min_dcf, p.min_dcf_interval)) for p in found.points] or [
        decimals(None)
    ] * points
    actual = found.points[0].act_dcf_interval if found.points else None
    if result.calibrated:
        cells.append(value(decimals(found.act_dcf, actual)))
        cells.append(value(decimals(found.cllr, found.cllr_interval)))
    else:
        cells += [_actual(result, None)] * 2
    return [*cells, decimals(found.min_cllr)]
