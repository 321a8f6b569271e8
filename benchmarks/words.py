"""The words of the generated tables: what every case is, in English, and every promise in Korean too."""

from __future__ import annotations

from typing import Any

from benchmarks.reach import AS_GOOD, PEERS, PROMISED

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
    "0.0197. Of several settings the one with the best validation loss is shown.",
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
    "speed_attention": "One look-up by additive attention, B 64, T 200, D 128: ten calls in a row with one "
    "query per window, the keys' exponentials computed before, as a decoder asks one book for all its steps; and 24 queries.",
    "speed_bahdanau": "A training step of `bahdanau`, 200 decoder steps over 200 encoder steps, B 64, D 128, beside the loop "
    "people write (keys projected in the loop) and a bare `nn.LSTM` encoder-decoder without attention, all with the same dense layers at the end.",
    "speed_darnn": "A training step of `darnn`, recurrent, B 64, T 200, 13 features, D 128, one step ahead, beside the loop of "
    "its equations, and what each keeps for the backward pass.",
    "speed_luong": "A training step of `luong`, H 24, B 64, D 128, on the target alone, beside a bare encoder-decoder of torch's "
    "`nn.LSTM`, and beside the same with the layer of `openbook.ops.lstm`, which `luong` reads with: what is left are look-up and readout. "
    "How long torch's layer takes depends on the memory it is given: see `speed_kept` ([decisions](decisions.md)).",
    "speed_kept": "The steps of `speed_bahdanau`, `speed_darnn` and `speed_luong` once more where the C library keeps the memory that a "
    "step frees, as the command line has it: a script's process gives it back and asks for it anew, which costs torch's LSTM most.",
    "speed_joint": "A training step of `luong` with a dozen inputs, T 168, H 24, B 64, D 64: one softmax over time and 13 variables, "
    "by the kernel and by torch's products, beside a look-up over time alone and a bare LSTM.",
    "speed_length": "Training steps by the length of the book, H 24, B 16, 5 variables: the power of T that time grows with, "
    "from 200 to 5,000 steps.",
    "speed_latency": "One forecast of one window with its weights, H 24, on one core: T 200, and for `openbook` with a long book 696 steps.",
    "speed_compilation": "First training steps of `luong`, `bahdanau` and both forms of `darnn` in a fresh process, without compiled "
    "kernels on disk and with them.",
    "speed_panel": "Forecasts of 100,000 series of 100 daily points, 14 days ahead, by a `luong` of 100 steps fitted on 1,000 of them.",
    "etth1": "Whole trainings on ETTh1: oil temperature alone, hourly, window 336, 24 ahead, rows 8640/2880/2880. All learn "
    "from the first 8640 and are scored on the same windows, every 24th (120 a part). Peers train 300 steps, or until their "
    "time is over (then *steps* says so), with their libraries' defaults, on the series in standard deviations of the "
    "training rows, without validation. `openbook` takes all its decisions within a budget of ten seconds, choice of parts, "
    "mixture and bands included. `luong` trains with its defaults: it scales every window by itself, reads calendar "
    "columns too, and stops early on the last 672 training rows; its time holds all of that, but not the scoring here. *As "
    "good after*: until its validation MAE, taken every 25 steps, is first at most what the peer ended with. The weights it keeps "
    "are chosen on rows of its own, and may have been others by then: its test MAE is that of those. neuralforecast's "
    "LSTM tells step i of the horizon from the state 24 − i hours before its start, so early steps can not see the newest "
    "values: the fair plain LSTM is Darts', which was not measured, nor was the TFT of pytorch-forecasting. `openbook` is given a "
    "window of 336, but its long book may read farther back. *Yardstick*: a product of two matrices before and after a training; compare "
    "seconds where it agrees.",
    "start_up": "What a fresh process waits for.",
    "gathering": "The share of a training step of `luong` spent on gathering its windows from the resident table.",
    "many_series": "10,000 series of 100 daily points, fitted as one `luong` and forecast, 14 days ahead.",
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
        "head": (
            "data",
            "seasonal naive",
            "ridge",
            "openbook",
            "luong",
            "bahdanau",
            "best of all",
            "seeds",
            "threads",
            "commit",
        ),
        "floor": " (floor)",
        "none": "Not measured yet.",
        "default": "**The default, `openbook`**, on the accuracy suites so far: {missed} of {all} targets missed (on {where}), "
        "{open} not measured; a floor or another model beats it somewhere on {lost}. [The tables](docs/benchmarks.md#accuracy) say where, with how many seeds.",
        "nowhere": "none of them",
        "others": "**In the main jobs below, the papers' protocols and speed**: {missed} of {all} targets missed, {open} not measured.",
        "speed": "**Missed:** {missed} of {all} targets of speed, with {models} ([which, and by how much](docs/benchmarks.md#lost-and-missed)).",
        "missed": "**Missed:** {asked} (measured: {measured}).",
        "near": "; within two deviations of the limit",
        "alone": "; one seed",
        "lost": "**Lost:** {case}: {floor} ({metric} {best}) beats {model} ({values}).",
        "failed": "**Lost:** {case}: {model} gave no forecast.",
        "slower": "**Lost:** etth1: luong takes longer to be as good as {peer} (share of its training: {measured}).",
        "legend": "MASE: the mean error in units of what repeating the last season (of hours a day) missed in training; lower is better. "
        "Means of the seeds (± standard deviation where there are several). Bold: the best, and who is "
        "less than two standard deviations behind it.",
        "more": "Commands, all scores and every target: [docs/benchmarks.md](docs/benchmarks.md).",
    },
    "ko": {
        "head": (
            "데이터",
            "계절 나이브",
            "릿지",
            "openbook",
            "luong",
            "bahdanau",
            "최고 성적",
            "시드",
            "스레드",
            "커밋",
        ),
        "floor": " (기준선)",
        "none": "아직 측정하지 않았습니다.",
        "default": "**기본 모델 `openbook`**의 정확도 측정은 지금까지 목표 {all}건 가운데 미달 {missed}건({where}), 미측정 {open}건입니다. 기준선이나 다른 모델이 "
        "더 정확했던 데이터는 {lost}입니다. 어디에서 얼마나, 시드는 몇 개인지는 [표](docs/benchmarks.md#accuracy)(영문)에 있습니다.",
        "nowhere": "없음",
        "others": "**아래의 주요 작업, 논문의 프로토콜, 속도**에서는 목표 {all}건 가운데 미달 {missed}건, 미측정 {open}건입니다.",
        "speed": "**미달:** 속도 목표 {all}건 가운데 {missed}건({models}). 어느 목표에 얼마나 못 미쳤는지는 [표](docs/benchmarks.md#lost-and-missed)(영문)에 있습니다.",
        "missed": "**미달:** {asked} (측정값: {measured}).",
        "test_mae": "시험 MAE, °C:",
        "hundred": " 100스텝",
        "peer": "`openbook`은 {seconds}초 만에 {mae} °C, 상대는 {best} °C이고 둘 중 빠른 쪽은 {least}초",
        "near": "; 한계와의 차이가 표준 편차의 두 배 이내",
        "alone": "; 시드 하나",
        "lost": "**패배:** {case}: {model}({values})보다 {floor}({metric} {best})의 오차가 더 작았습니다.",
        "failed": "**패배:** {case}: {model}이(가) 예측을 내지 못했습니다.",
        "slower": "**패배:** etth1: {peer}의 최종 검증 성적에 이르기까지 luong이 더 오래 걸립니다(학습 시간 대비: {measured}).",
        "legend": "값은 MASE(학습 구간에서 지난 계절 값, 시간별 자료라면 하루 전 값을 되풀이했을 때의 오차를 1로 둔 평균 오차)이며 낮을수록 좋습니다. 여러 시드의 평균이고, 시드가 둘 이상이면 ± 표준편차를 함께 적습니다. "
        "굵은 글씨는 가장 좋은 성적과, 그에 표준편차의 두 배 미만으로 뒤지는 성적입니다.",
        "more": "명령어, 전체 점수, 모든 목표: [docs/benchmarks.md](docs/benchmarks.md)(영문).",
    },
}
KOREAN = {
    "vic_elec: MASE of the better of our models at least 25 % below seasonal naive": "vic_elec: 우리 모델 중 가장 나은 쪽의 "
    "MASE가 계절 나이브보다 25 % 이상 낮을 것",
    "bike_hour: MASE of the better of our models at least 20 % below seasonal naive": "bike_hour: 우리 모델 중 가장 나은 "
    "쪽의 MASE가 계절 나이브보다 20 % 이상 낮을 것",
    "epf_np: MASE of the better of our models at least 20 % below seasonal naive": "epf_np: 우리 모델 중 가장 나은 쪽의 "
    "MASE가 계절 나이브보다 20 % 이상 낮을 것",
    "vic_elec: the better of our models not worse than ridge in MASE": "vic_elec: 우리 모델 중 가장 나은 쪽의 MASE가 릿지보다 "
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
    "gathering windows takes at most 5 % of a training step of `luong`": "윈도를 모으는 시간이 `luong` 학습 스텝의 5 % 이하일 것",
    "`luong`: 10,000 series within 24 GB": "`luong`: 시계열 10,000개를 메모리 24 GB 안에서 처리할 것",
    "`luong`: 10,000 series fitted and forecast within 600 s": "`luong`: 시계열 10,000개의 학습과 예측을 600초 안에 마칠 것",
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
    "speed_attention: one look-up at least 18 times as fast as plain tanh": "speed_attention: 조회 한 번이 보통의 tanh보다 18배 이상 빠를 것",
    "speed_attention: one look-up not slower than dot attention": "speed_attention: 조회 한 번이 내적 어텐션보다 느리지 않을 것",
    "speed_bahdanau: a step at least 18 times as fast as the plain loop": "speed_bahdanau: 학습 스텝이 보통의 반복문보다 18배 이상 빠를 것",
    "speed_bahdanau: a step at most 2.5 times a bare LSTM's with its readout": "speed_bahdanau: 학습 스텝이 같은 출력층을 단 어텐션 없는 LSTM의 2.5배 이하일 것",
    "speed_darnn: a step at least 12 times as fast as the plain loop": "speed_darnn: 학습 스텝이 보통의 반복문보다 12배 이상 빠를 것",
    "speed_darnn: at least 50 times less activation memory": "speed_darnn: 역전파용 메모리가 50분의 1 이하일 것",
    "speed_luong: luong over time at T 200 at most 1.15 times a bare LSTM": "speed_luong: T 200에서 시간 축의 luong이 어텐션 없는 LSTM의 1.15배 이하일 것",
    "speed_luong: luong over joint at T 200 at most 1.15 times a bare LSTM": "speed_luong: T 200에서 시간×입력 축의 luong이 어텐션 없는 LSTM의 1.15배 이하일 것",
    "speed_luong: luong over time at T 1000 at most 1.15 times a bare LSTM": "speed_luong: T 1000에서 시간 축의 luong이 어텐션 없는 LSTM의 1.15배 이하일 것",
    "speed_luong: luong over joint at T 1000 at most 1.15 times a bare LSTM": "speed_luong: T 1000에서 시간×입력 축의 luong이 어텐션 없는 LSTM의 1.15배 이하일 것",
    "speed_kept: bahdanau: a step at least 18 times as fast as the plain loop": "speed_kept: bahdanau의 학습 스텝이 보통의 반복문보다 18배 이상 빠를 것",
    "speed_kept: bahdanau: a step at most 2.5 times a bare LSTM's with its readout": "speed_kept: bahdanau의 학습 스텝이 같은 출력층을 단 어텐션 없는 LSTM의 2.5배 이하일 것",
    "speed_kept: darnn: a step at least 12 times as fast as the plain loop": "speed_kept: darnn의 학습 스텝이 보통의 반복문보다 12배 이상 빠를 것",
    "speed_kept: luong over time at T 200 at most 1.15 times a bare LSTM": "speed_kept: T 200에서 시간 축의 luong이 어텐션 없는 LSTM의 1.15배 이하일 것",
    "speed_kept: luong over joint at T 200 at most 1.15 times a bare LSTM": "speed_kept: T 200에서 시간×입력 축의 luong이 어텐션 없는 LSTM의 1.15배 이하일 것",
    "speed_kept: luong over time at T 1000 at most 1.15 times a bare LSTM": "speed_kept: T 1000에서 시간 축의 luong이 어텐션 없는 LSTM의 1.15배 이하일 것",
    "speed_kept: luong over joint at T 1000 at most 1.15 times a bare LSTM": "speed_kept: T 1000에서 시간×입력 축의 luong이 어텐션 없는 LSTM의 1.15배 이하일 것",
    "speed_length: time of luong grows with T to the power of at most 1.1": "speed_length: luong의 시간이 T의 1.1제곱 이하로 늘 것",
    "speed_length: time of bahdanau grows with T to the power of at most 1.1": "speed_length: bahdanau의 시간이 T의 1.1제곱 이하로 늘 것",
    "speed_length: time of darnn over segments grows with T to the power of at most 1.1": "speed_length: 구간 단위 darnn의 시간이 T의 1.1제곱 이하로 늘 것",
    "speed_latency: luong forecasts one window with its weights within 10 ms": "speed_latency: luong이 윈도 하나를 가중치와 함께 10 ms 안에 예측할 것",
    "speed_latency: bahdanau forecasts one window with its weights within 10 ms": "speed_latency: bahdanau이 윈도 하나를 가중치와 함께 10 ms 안에 예측할 것",
    "speed_latency: openbook forecasts one window with its weights within 10 ms": "speed_latency: openbook이 윈도 하나를 가중치와 함께 10 ms 안에 예측할 것",
    "speed_gpu: a step of luong on an NVIDIA GPU at most 1.5 times a bare cuDNN LSTM's": "speed_gpu: NVIDIA GPU에서 luong의 학습 스텝이 cuDNN LSTM의 1.5배 이하일 것",
    "speed_gpu: a step of bahdanau on an NVIDIA GPU at most 1.5 times a bare cuDNN LSTM's": "speed_gpu: NVIDIA GPU에서 bahdanau의 학습 스텝이 cuDNN LSTM의 1.5배 이하일 것",
    "speed_gpu: a step of DA-RNN on an NVIDIA GPU at least 30 times as fast as the plain loop": "speed_gpu: NVIDIA GPU에서 DA-RNN의 학습 스텝이 보통의 반복문보다 30배 이상 빠를 것",
    "demo: `openbook` beats every floor in MASE": "demo: `openbook`의 MASE가 모든 기준 방법보다 낮을 것",
    "speed_compilation: kernels compile within 15 s, once": "speed_compilation: 커널 컴파일이 처음 한 번 15초 안에 끝날 것",
    **{
        f"etth1: `luong` is as good on validation as {peer} after at most a fifth of its training time": f"etth1: {peer}의 "
        "최종 검증 성적에 `luong`이 그 학습 시간의 5분의 1 안에 이를 것"
        for peer in (PEERS[name] for name in PROMISED)
    },
    AS_GOOD: "etth1: `openbook`의 시험 MAE가 NHITS와 PatchTST 가운데 나은 쪽에, 둘 중 어느 쪽보다 짧은 시간에 이를 것",
}
INTRODUCTION = """# Benchmarks

Generated by `python -m benchmarks.tables` from `benchmarks/results/`; not written by hand. The command of every case
stands with it; `make bench FORCE=--force` measures the main job (seed 1) and the reference cases again (without `FORCE`
only what has no result; real data are read from the folder named by `OPENBOOK_DATA_DIR`, and cases without data
are left out).

All models of a case forecast the same windows from the same past. MASE is the mean absolute error divided by the error
that repeating the last season made on the training part: lower is better. Floors are simple and statistical methods;
`seasonal_naive` and `ridge` are always among them. Where there are several seeds: mean ± standard deviation. Ratios of
speed hang on the processor: those measured on another one stand beside the last run's, and a target is met where all are.

A row is of the commit that stands with it. Some are of code that forecasts otherwise today: those of `mstl`, and of `auto_theta` on
fine dust, ETT, exchange rates and prices, of before they went on from the row they were fitted at. Other rows of statistical floors
whose test is longer than what they are fitted on are of before a bound on what is filled in between.
"""
