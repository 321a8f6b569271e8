"""The built-in calls from table to look-up: ``python examples/calls.py [STEPS]``. Nothing is written to disk.

The data are simulated, so their causes are known: letters (``mailing``) bring calls ``campaign_lag`` hours later.
"""

from __future__ import annotations

import sys

import openbook as ob


def main(max_steps: int = 600) -> None:
    """Hold the last day back, forecast it, compare with a floor, and say where the model looked."""
    simulated = ob.simulate_calls(days=200)
    day = simulated.frame.groupby("unique_id").tail(24)
    past = simulated.frame.drop(day.index)
    known = ["holiday", "temperature"]

    config = ob.OpenBookConfig(mixing=True)  # all inputs in the look-up, to see whether it finds the letters
    model = ob.Forecaster(24, model=config, futr_exog_list=known, train=ob.TrainConfig(max_steps=max_steps)).fit(past)
    for name, decision in model.decisions.items():
        print(f"{name}: {decision.value}  ({decision.why})")

    floor = ob.Floor("ridge", 24, futr_exog_list=known).fit(past)
    table = day.merge(model.predict(futr_df=day, level=[80])).merge(floor.predict(futr_df=day))
    for name in ("OpenBook", "ridge"):
        print(f"{name}: off by {(table[name] - table['y']).abs().mean():.1f} calls an hour")
    inside = table["y"].between(table["OpenBook-lo-80"], table["OpenBook-hi-80"])[table["y"].notna()]
    print(f"inside the 80 % band: {inside.mean():.0%}")

    explanation = model.explain(futr_df=day)
    print(f"planted: mailing, {simulated.truth.campaign_lag} hours later; looked up most:")
    print(explanation.by_lag().nlargest(8, "weight").to_string(index=False))
    print(explanation.by_feature().to_string(float_format="{:.1%}".format))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
