"""``docs/benchmarks.md`` and the READMEs' tables from the results: ``python -m benchmarks.tables``. Losses come first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.reach import (
    HEAD,
    OURS,
    PEERS,
    PROMISED,
    is_reach,
    reach_losses,
    reach_rows,
    reach_settings,
    reach_targets,
)
from benchmarks.record import ROOT
from benchmarks.targets import Case, Scores, Target, main_targets, ours, percent, read_cases, spread
from openbook.errors import DataError
from openbook.files import write_text_whole
from openbook.forecast.floors import FLOORS

BEGIN, END = "<!-- scores:begin -->", "<!-- scores:end -->"
READMES = {"README.md": "en", "README.ko.md": "ko"}
METRICS = (
    ("mae", "MAE"),
    ("rmse", "RMSE"),
    ("mase", "MASE"),
    ("wape", "WAPE"),
    ("smape", "sMAPE"),
    ("pinball", "pinball"),
    ("seconds_fit", "fit, s"),
    ("seconds_predict", "predict, s"),
)
ABOUT = {
    "demo": "Three simulated call centres, hourly, 24 hours ahead, 14 windows; holiday and temperature known ahead.",
    "vic_elec": "Electricity demand of Victoria, half-hourly, 48 steps ahead, the last 56 days. Temperature and holiday "
    "are given ahead; the temperature is the one that came, so errors of a weather forecast are not in these scores.",
    "bike_hour": "Rented bicycles, hourly, 24 hours ahead, the last 90 days. Holiday and working day are known ahead, "
    "weather only up to now.",
    "epf_np": "Day-ahead electricity prices of Nord Pool, hourly, 24 hours ahead, the last 728 days; two forecasts "
    "published the day before are known ahead.",
    "planted_lag": "Where `luong` looks in the simulated calls, whose causes are known. `mailing` calls back at the "
    "planted lag, half of it at that hour and a quarter an hour before and after (the kernel, which counts as the same "
    "campaign). Lags that are multiples of 24 are the rhythm of day and week.",
    "sml2010_nowcast": "Room temperature from a house's sensors every 15 minutes, one step, 3200/400/537 rows, window 10. "
    "**Nowcast**: the inputs of the step itself are known. Published by the paper of dual-stage attention, as a nowcast: "
    "0.0197. Of three settings the one with the best validation loss is shown.",
    "sml2010_forecast": "The same as a **forecast**: inputs up to now.",
    "nasdaq100_nowcast": "The stock index from its shares, minute by minute, one step, 80/10/10, window 10. **Nowcast**: "
    "the shares of the minute itself are known.",
    "nasdaq100_forecast": "The same as a **forecast**: persistence (`naive`) is the honest expectation.",
    "beijing_pm25": "Fine dust in Beijing, one hour ahead, 60/20/20, window 10. Published (IMV-LSTM): 20.87 and 11.29.",
    "appliances": "Energy of a house's appliances, ten-minute steps, window 24, 6 ahead, last fifth as test. Two of the "
    "inputs, rv1 and rv2, are pure noise.",
    "vic_days": "Demand of Victoria a day ahead over the whole last year, from past days 1, 7, 28 and 63 days back, "
    "together and each alone; temperature and holiday known as in vic_elec.",
    "darnn_step": "Training steps of `darnn` beside `luong`, interleaved in one process; T 24, 13 features, D 128, B 128.",
    "etth1": "Whole trainings on ETTh1: oil temperature alone, hourly, window 336, 24 ahead, rows 8640/2880/2880. All learn "
    "from the first 8640 and are scored on the same windows, every 24th (120 a part). Peers train 300 steps, or until their "
    "time is over (then *steps* says so), with their libraries' defaults, on the series in standard deviations of the "
    "training rows, without validation. `luong` trains with its defaults: it scales every window by itself, reads calendar "
    "columns too, and stops early on the last 672 training rows; its time holds all of that, but not the scoring here. *As "
    "good after*: until its validation MAE, taken every 25 steps, is first at most what the peer ended with. neuralforecast's "
    "LSTM tells step i of the horizon from the state 24 − i hours before its start, so early steps can not see the newest "
    "values: the fair plain LSTM is Darts'. *Yardstick*: a product of two matrices before and after a training; compare "
    "seconds where it agrees.",
    "start_up": "What a fresh process waits for.",
    "gathering": "The share of a training step spent on gathering its windows from the resident table.",
    "many_series": "10,000 series of 100 daily points, fitted as one model and forecast, 14 days ahead.",
}
SHORT = {
    "en": {
        "demo": "simulated calls, hourly, 24 ahead",
        "vic_elec": "electricity demand, half-hourly, 48 ahead",
        "bike_hour": "bicycle rentals, hourly, 24 ahead",
        "epf_np": "electricity prices, hourly, 24 ahead",
    },
    "ko": {
        "demo": "모의 콜센터 인입 콜 수(시간별, 24시간 앞)",
        "vic_elec": "전력 수요(30분별, 48스텝 앞)",
        "bike_hour": "자전거 대여 건수(시간별, 24시간 앞)",
        "epf_np": "전력 가격(시간별, 24시간 앞)",
    },
}
WORDS: dict[str, dict[str, Any]] = {
    "en": {
        "head": ("data", "seasonal naive", "ridge", "luong", "bahdanau", "best of all", "seeds", "threads", "commit"),
        "floor": " (floor)",
        "none": "Not measured yet.",
        "count": "Targets: {missed} missed, {met} met, {open} not measured.",
        "missed": "**Missed:** {asked} (measured: {measured}).",
        "lost": "**Lost:** {case}: {floor} ({metric} {best}) beats {model} ({values}).",
        "failed": "**Lost:** {case}: {model} gave no forecast.",
        "slower": "**Lost:** etth1: luong takes longer to be as good as {peer} (share of its training: {measured}).",
        "legend": "MASE, lower is better; means of the seeds (± standard deviation where there are several).",
        "more": "Commands, all scores and every target: [docs/benchmarks.md](docs/benchmarks.md).",
    },
    "ko": {
        "head": ("데이터", "계절 나이브", "릿지", "luong", "bahdanau", "최고 성적", "시드", "스레드", "커밋"),
        "floor": " (기준선)",
        "none": "아직 측정하지 않았습니다.",
        "count": "목표: 미달 {missed}건, 달성 {met}건, 미측정 {open}건.",
        "missed": "**미달:** {asked} (측정값: {measured}).",
        "lost": "**패배:** {case}: {floor}({metric} {best})이(가) {model}({values})보다 정확했습니다.",
        "failed": "**패배:** {case}: {model}이(가) 예측을 내지 못했습니다.",
        "slower": "**패배:** etth1: {peer}의 최종 검증 성적에 이르기까지 luong이 더 오래 걸립니다(학습 시간 대비: {measured}).",
        "legend": "값은 MASE이며 낮을수록 좋습니다. 여러 시드의 평균이고, 시드가 둘 이상이면 ± 표준편차를 함께 적습니다.",
        "more": "명령어, 전체 점수, 모든 목표: [docs/benchmarks.md](docs/benchmarks.md)(영문).",
    },
}
KOREAN = {
    "vic_elec: MASE of the better of our models at least 25 % below seasonal naive": "vic_elec: 두 모델 중 더 나은 쪽의 "
    "MASE가 계절 나이브보다 25 % 이상 낮을 것",
    "bike_hour: MASE of the better of our models at least 20 % below seasonal naive": "bike_hour: 두 모델 중 더 나은 "
    "쪽의 MASE가 계절 나이브보다 20 % 이상 낮을 것",
    "epf_np: MASE of the better of our models at least 20 % below seasonal naive": "epf_np: 두 모델 중 더 나은 쪽의 "
    "MASE가 계절 나이브보다 20 % 이상 낮을 것",
    "vic_elec: the better of our models not worse than ridge in MASE": "vic_elec: 두 모델 중 더 나은 쪽의 MASE가 릿지보다 "
    "나쁘지 않을 것",
    "vic_elec: the whole command within 15 minutes": "vic_elec: 명령 전체를 15분 안에 마칠 것",
    "vic_elec: the 80 % bands of our models cover 76 to 84 %": "vic_elec: 80 % 구간이 실제 값의 76–84 %를 담을 것",
    "vic_elec: the 95 % bands of our models cover 91 to 99 %": "vic_elec: 95 % 구간이 실제 값의 91–99 %를 담을 것",
    "planted_lag: the planted cell comes first outside daily and weekly lags, in every seed": "planted_lag: 일·주 주기의 "
    "시차를 빼면 모든 시드에서 심어 둔 원인이 첫째일 것",
    "planted_lag: the noise columns get the smallest shares of the look-ups, in every seed": "planted_lag: 모든 시드에서 "
    "잡음 열의 조회 비중이 가장 작을 것",
    "`import openbook` adds at most 0.5 s": "`import openbook`에 드는 시간이 0.5초 이하일 것",
    "`openbook --help` within 0.7 s": "`openbook --help`가 0.7초 안에 끝날 것",
    "gathering windows takes at most 5 % of a training step": "윈도를 모으는 시간이 학습 스텝의 5 % 이하일 것",
    "10,000 series within 24 GB": "시계열 10,000개를 메모리 24 GB 안에서 처리할 것",
    "10,000 series fitted and forecast within 600 s": "시계열 10,000개의 학습과 예측을 600초 안에 마칠 것",
    "`openbook demo` within 300 s": "`openbook demo`를 300초 안에 마칠 것",
    "sml2010_nowcast: `darnn` nowcast RMSE at most 0.0170 °C": "sml2010_nowcast: `darnn` 나우캐스트의 RMSE가 0.0170 °C "
    "이하일 것",
    "sml2010_forecast: `darnn` forecast RMSE at most 0.0195 °C": "sml2010_forecast: `darnn` 예측의 RMSE가 0.0195 °C "
    "이하일 것",
    "nasdaq100_nowcast: `darnn` RMSE at most 0.30 of persistence": "nasdaq100_nowcast: `darnn`의 RMSE가 직전 값 유지의 "
    "0.30배 이하일 것",
    "beijing_pm25: `darnn` RMSE at most 20.9": "beijing_pm25: `darnn`의 RMSE가 20.9 이하일 것",
    "beijing_pm25: `darnn` MAE at most 11.4": "beijing_pm25: `darnn`의 MAE가 11.4 이하일 것",
    "appliances: the noise columns rank in the lowest third of the inputs' weights, in every seed": "appliances: 모든 "
    "시드에서 잡음 열의 가중치가 입력 가운데 하위 3분의 1에 들 것",
    "vic_days: `day_to_day` with four gaps at least 5 % below its best single gap in MAE": "vic_days: 네 간격을 함께 본 "
    "`day_to_day`의 MAE가 가장 좋은 단일 간격보다 5 % 이상 낮을 것",
    "darnn_step: a step of `darnn` two_pass takes at most 2 times a step of `luong`, 24 steps ahead": "darnn_step: "
    "24스텝 예측에서 `darnn` two_pass의 학습 스텝이 `luong`의 2배 이하일 것",
    "darnn_step: a step of `darnn` recurrent takes at most 6 times a step of `luong`, 24 steps ahead": "darnn_step: "
    "24스텝 예측에서 `darnn` recurrent의 학습 스텝이 `luong`의 6배 이하일 것",
    **{
        f"etth1: `luong` is as good on validation as {peer} after at most a fifth of its training time": f"etth1: {peer}의 "
        "최종 검증 성적에 `luong`이 그 학습 시간의 5분의 1 안에 이를 것"
        for peer in (PEERS[name] for name in PROMISED)
    },
}
INTRODUCTION = """# Benchmarks

Generated by `python -m benchmarks.tables` from `benchmarks/results/`; not written by hand. Measure again with
`make bench` (real data are read from the folder named by `OPENBOOK_DATA_DIR`; cases without data are left out).

All models of a case forecast the same windows from the same past. MASE is the mean absolute error divided by the error
that repeating the last season made on the training part: lower is better. Floors are simple and statistical methods;
`seasonal_naive` and `ridge` are always among them. Where there are several seeds: mean ± standard deviation.
"""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table.

    >>> print(table(("a", "b"), [("1", "x|y")]))
    | a | b |
    |---|---|
    | 1 | x\\|y |
    """
    lines = [list(head), *map(list, rows)]
    shown = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    return "\n".join([shown[0], "|" + "---|" * len(lines[0]), *shown[1:]])


def asked(target: Target, language: str) -> str:
    """The promise in the language of a README."""
    return KOREAN[target.asked] if language == "ko" else target.asked


def all_targets(cases: Mapping[str, Case]) -> list[Target]:
    """Every target; what can not be told from the results is not measured."""
    return [*main_targets(cases), *reach_targets(cases)]


def losses(cases: Mapping[str, Case], language: str = "en") -> list[str]:
    """Our models that a floor beats or that failed, in words; the cases where every one of ours loses come first."""
    words = WORDS[language]
    worst: list[str] = []
    others: list[str] = []
    for case in cases.values():
        scores = case.scores()
        metric = headline(scores)
        known = {model: fmean(values[metric]) for model, values in scores.items() if values.get(metric)}
        known = dict(sorted(known.items(), key=lambda item: item[1]))
        failed = [model for model in scores if model not in known]
        others += [words["failed"].format(case=case.name, model=model) for model in failed]
        floor = next((model for model in known if model in FLOORS), None)
        mine = ours({model: scores[model] for model in known})
        beaten = [model for model in mine if floor is not None and known[model] >= known[floor]]
        for model in beaten:
            digits = 3 if metric == "mase" else 4
            values, best = (spread(scores[name][metric], digits) for name in (model, str(floor)))
            told = {"case": case.name, "floor": floor, "metric": metric.upper(), "best": best}
            line = words["lost"].format(**told, model=model, values=values)
            (worst if len(beaten) == len(mine) else others).append(line)
    return [*worst, *others, *reach_losses(cases, words)]


def headline(scores: Scores) -> str:
    """The metric a case is decided by: MASE, or RMSE where MASE was not asked for."""
    return "mase" if any(values.get("mase") for values in scores.values()) else "rmse"


def provenance(case: Case) -> tuple[str, str, str]:
    """Seeds, threads and commit of a case."""
    return ", ".join(map(str, case.seeds)) or "–", case.facts("machine", "threads"), case.facts("commit")


def target_rows(targets: Sequence[Target]) -> list[list[str]]:
    """Missed first, then what was not measured, then what was met."""
    order = (False, None, True)
    word = {False: "**missed**", None: "not measured", True: "met"}
    ordered = sorted(targets, key=lambda target: order.index(target.met))
    return [
        [t.asked, t.measured, word[t.met], f"`{t.case.command}`" if t.case else "–", *provenance(t.case)]
        for t in ordered
    ]


def score_table(case: Case, scores: Scores) -> str:
    """All metrics of all models of a case."""
    rows = []
    for model, values in scores.items():
        cells = [spread(values.get(metric, []), 3) for metric, _ in METRICS]
        covered = [
            case.coverage(model, level) or (values.get("coverage_80", []) if level == 80 else []) for level in (80, 95)
        ]
        name = f"{model} (floor)" if model in FLOORS else f"**{model}**"
        rows.append([name, *cells[:6], *map(percent, covered), *cells[6:]])
    titles = [title for _, title in METRICS]
    return table(["model", *titles[:6], "in 80 % band", "in 95 % band", *titles[6:]], rows)


def section(case: Case) -> str:
    """What one case is, how it was run, and everything it measured."""
    seeds, threads, commits = provenance(case)
    versions = {name: case.facts("versions", name) for run in case.runs for name in run.get("versions", {})}
    parts = [f"## {case.name}", ABOUT.get(case.name, ""), f"```sh\n{case.command}\n```"]
    parts.append(
        f"Commit {commits}; seeds {seeds}; {threads} threads on {case.facts('machine', 'system')} "
        f"{case.facts('machine', 'processor')} with {case.facts('machine', 'cores')} cores; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + "."
    )
    if scores := case.scores():
        parts.append(score_table(case, scores))
    facts = [
        [f"{name} (seed {seed})" if len(case.runs) > 1 else name, plain(value)]
        for seed, run in zip(case.seeds, case.runs, strict=True)
        for name, value in run.items()
        if name not in _TOLD
    ]
    if facts:
        parts.append(table(["measured", "value"], facts))
    warnings = dict.fromkeys(str(warning) for run in case.runs for warning in run.get("warnings", ()))
    parts += ["\n".join(f"- {warning}" for warning in warnings)] if warnings else []
    return "\n\n".join(part for part in parts if part)


def reach_section(cases: Mapping[str, Case]) -> str:
    """Whole trainings side by side, in one section."""
    rows, settings = reach_rows(cases), reach_settings(cases)
    if not rows:
        return ""
    parts = ["## etth1", ABOUT["etth1"], "```sh\nmake bench-peers\n```", table(HEAD, rows)]
    if ours := cases.get(OURS):
        parts.append(f"`luong`: seeds {provenance(ours)[0]}; peers: seed 1.")
    return "\n\n".join([*parts, *([table(["peer", "its defaults"], settings)] if settings else [])])


_TOLD = ("command", "seed", "scores", "coverage", "warnings", "commit", "machine", "versions")


def plain(value: Any) -> str:
    """A figure of a result on one line.

    >>> plain([{"lag": 52, "weight": 0.0123456}]), plain({"a": 1.5})
    ('lag 52, weight 0.01235', 'a: 1.5')
    """
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {plain(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return "<br>".join(
            ", ".join(f"{name} {plain(inner)}" for name, inner in item.items())
            if isinstance(item, Mapping)
            else plain(item)
            for item in value
        )
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def benchmarks_page(cases: Mapping[str, Case]) -> str:
    """The whole of ``docs/benchmarks.md``."""
    targets = all_targets(cases)
    missed = WORDS["en"]["missed"]
    bad = ["- " + missed.format(asked=t.asked, measured=t.measured) for t in targets if t.met is False]
    bad += [f"- {line}" for line in losses(cases)]
    changed = [name for name, case in cases.items() if "+changes" in case.facts("commit")]
    if changed:
        bad.append(f"- Measured on source that was not committed as it was: {', '.join(changed)}.")
    if not cases:
        bad = ["Nothing has been measured yet."]
    head = ("target", "measured", "result", "command", "seeds", "threads", "commit")
    alone = [case for case in cases.values() if not is_reach(case.name)]
    ordered = sorted(alone, key=lambda case: list(ABOUT).index(case.name) if case.name in ABOUT else len(ABOUT))
    race = reach_section(cases)
    parts = [
        INTRODUCTION.rstrip(),
        "## Lost and missed",
        "\n".join(bad) or "No target that was measured was missed, and no floor won.",
        "## Targets",
        table(head, target_rows(targets)),
        *map(section, ordered),
        *([race] if race else []),
    ]
    return "\n\n".join(parts) + "\n"


def readme_table(cases: Mapping[str, Case], language: str) -> str:
    """What stands between the markers of a README: the misses, then MASE by data set and model."""
    words, targets = WORDS[language], all_targets(cases)
    counts = {
        name: sum(t.met is met for t in targets) for name, met in (("missed", False), ("met", True), ("open", None))
    }
    lines = [words["missed"].format(asked=asked(t, language), measured=t.measured) for t in targets if t.met is False]
    lines += losses(cases, language)
    rows = []
    for name, title in SHORT[language].items():
        case = cases.get(name, Case(name))
        scores = {model: values["mase"] for model, values in case.scores().items() if values.get("mase")}
        best = next(iter(scores), None)
        cells = [
            f"**{spread(scores[model])}**" if model == best else spread(scores.get(model, []))
            for model in ("seasonal_naive", "ridge", "luong", "bahdanau")
        ]
        if scores:
            winner = f"{best}{words['floor'] if best in FLOORS else ''}"
            rows.append([title, *cells, winner, *provenance(case)])
    shown = [str(words["legend"]), table(list(words["head"]), rows)] if rows else [str(words["none"])]
    bullets = ["\n".join(f"- {line}" for line in lines)] if lines else []
    return "\n\n".join([*bullets, *shown, f"{words['count'].format(**counts)} {words['more']}"])


def between_markers(text: str, inside: str, where: str) -> str:
    """The text with what stands between the markers replaced; raises ``DataError`` where they are not there once each.

    >>> between_markers("a <!-- scores:begin -->old<!-- scores:end --> z", "new", "x").splitlines()
    ['a <!-- scores:begin -->', '', 'new', '', '<!-- scores:end --> z']
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise DataError(
            "no_markers",
            expected=f"{BEGIN} and {END}, once each and in this order",
            got=f"{text.count(BEGIN)} and {text.count(END)} of them",
            where=where,
            fix="put both markers where the table belongs",
        )
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{inside}\n\n{END}{rest.split(END)[1]}"


def generate(root: Path) -> list[Path]:
    """Write the page and the READMEs' tables below ``root`` from ``benchmarks/results`` there; returns what was written."""
    cases = read_cases(root / "benchmarks" / "results")
    written = [write_text_whole(root / "docs" / "benchmarks.md", benchmarks_page(cases))]
    for name, language in READMES.items():
        path = root / name
        text = between_markers(path.read_text(encoding="utf-8"), readme_table(cases, language), name)
        written.append(write_text_whole(path, text))
    return written


def main() -> None:
    """Generate all tables of this repository."""
    for path in generate(ROOT):
        print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
