"""Saved forecasters: ``config.json``, ``weights.safetensors``, ``manifest.json`` in a folder or one ``.ob`` zip."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import zipfile
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from openbook.data.panel import Panel
from openbook.errors import MissingDependencyError, ModelFileError, UsageError
from openbook.files import absent, check_writable, is_folder, is_there, json_text, write_folder_whole, write_whole
from openbook.forecast.arguments import ColumnNames
from openbook.forecast.choice import Choice
from openbook.forecast.conformal import Calibration
from openbook.forecast.decisions import Decision
from openbook.forecast.frames import Inputs
from openbook.forecast.own_bands import Owners
from openbook.forecast.widening import saved_widening
from openbook.models.base import ModelShape
from openbook.models.registry import build_model, config_from_dict, config_to_dict
from openbook.training.loop import TrainConfig
from openbook.version import __version__
from openbook.windows.sampler import Layout, WindowShape
from openbook.windows.scaling import ColumnScaler

if TYPE_CHECKING:
    from openbook.forecast.forecaster import Forecaster

SCHEMA = 6
# 2: without country, categories of static columns, several targets; below 4: keys of darnn see levels, days are left out;
# below 5: static values stand in every row; below 6: nobody knows whose windows bands were calibrated on.
_READABLE = (2, 3, 4, 5, 6)
_CONFIG, _WEIGHTS, _MANIFEST = "config.json", "weights.safetensors", "manifest.json"
_FILES = (_CONFIG, _WEIGHTS, _MANIFEST)
_OF_SYSTEMS = (".DS_Store", "desktop.ini", "Thumbs.db")  # which file managers leave in any folder that was looked at
_KINDS = {"int": int, "float": float, "bool": bool, "str": str}  # of series names


def check_target(path: str | Path) -> None:
    """Refuse a place where ``save`` would destroy something or can not write; raises ``UsageError``.

    A name ending in ``.ob`` may replace a file, another name a folder that holds nothing but a saved model.
    """
    path = Path(path)
    if path.suffix == ".ob":
        if is_folder(path):
            raise _would_overwrite(path, "a file name that is free or taken by a file", "a folder")
        check_writable(path)
        return
    if is_there(path) and not is_folder(path):
        raise _would_overwrite(path, "a folder for the model, or a file name ending in .ob", "a file that stands there")
    check_writable(path, folder=True)
    there = list(path.iterdir()) if is_there(path) else []
    odd = sorted(item.name for item in there if item.name not in (*_FILES, *_OF_SYSTEMS) or item.is_dir())
    if odd:
        more = f" and {len(odd) - 5} more" if len(odd) > 5 else ""
        raise _would_overwrite(
            path, "a folder that is new, empty or a saved model", f"{', '.join(odd[:5])}{more} in it"
        )


def save_forecaster(forecaster: Forecaster, path: Path) -> Path:
    """Write a fitted forecaster, its calibration and the history it forecasts from."""
    check_target(path)
    files = _files(forecaster)

    def fill(folder: Path) -> None:
        for name, content in files.items():
            (folder / name).write_bytes(content)

    def pack(draft: Path) -> None:
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                info = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
                archive.writestr(info, content, compress_type=zipfile.ZIP_DEFLATED)

    return write_whole(path, pack) if path.suffix == ".ob" else write_folder_whole(path, fill)


def load_forecaster(kind: type[Forecaster], path: Path) -> Forecaster:
    """The inverse of ``save_forecaster``; nothing is executed, no tensor is left at a fresh value."""
    files = _read(path)
    config, tensors = _checked(files, path)
    try:
        return _rebuild(kind, config, tensors, path)
    except (ModelFileError, MissingDependencyError):
        raise
    except Exception as error:  # sizes and fields that no save has written end in errors of every kind
        raise _broken(path, "a config this release understands", f"{type(error).__name__}: {error}") from error


def _files(forecaster: Forecaster) -> dict[str, bytes]:
    fitted, history = forecaster.fitted(), forecaster.history_
    owners = fitted.calibration.owners
    if history is None:
        raise UsageError(
            "not_fitted",
            expected="a fitted forecaster",
            got="no history",
            where="save",
            fix="call fit or cross_validation first",
        )
    config = {
        "h": forecaster.h,
        "model": config_to_dict(forecaster.config),
        "fitted_model": config_to_dict(fitted.config),
        "input_size": forecaster.input_size,
        "freq": forecaster.freq,
        "inputs": forecaster.inputs._asdict(),
        "categories": {name: list(values) for name, values in (forecaster.categories_ or {}).items()},
        "hist_exog_list": forecaster.hist_exog_list,
        "futr_exog_list": forecaster.futr_exog_list,
        "train": asdict(forecaster.train) | ({"budget_s": "inf"} if forecaster.train.budget_s == math.inf else {}),
        "seed": forecaster.seed,
        "alias": forecaster.name,
        "scaling": forecaster.scaling,
        "country": forecaster.country,
        "season_length": forecaster.season_length,
        "columns": forecaster.columns._asdict(),
        "readings": forecaster.readings_,
        "decisions": {name: decision._asdict() for name, decision in forecaster.decisions.items()},
        "shape": asdict(fitted.shape),
        "layout": asdict(fitted.layout),
        "windows": asdict(fitted.windows),
        "season": fitted.season,
        "lower_bound": fitted.lower_bound,
        "own_bounds": dict(fitted.own_bounds),
        "independent": fitted.calibration.independent,
        "calibrated_on": [] if owners is None else list(owners.names),
        "choice": fitted.choice._asdict(),
        "learned_until": fitted.learned_until,
        "learned_beyond": dict(fitted.learned_beyond),
        "widening": fitted.widening,
        "spread": fitted.spread,
        "still": dict(fitted.still),
        "history": {
            "ids": [_id_value(name) for name in history.ids],
            "id_kinds": [type(_id_value(name)).__name__ for name in history.ids],
            "freq": history.freq,
            "timezone": history.timezone,
            "dates": bool(np.issubdtype(history.times.dtype, np.datetime64)),
        },
    }
    arrays = {
        "columns.mean": fitted.columns.mean_C,
        "columns.std": fitted.columns.std_C,
        "calibration.quantile": fitted.calibration.quantile_WHQ,
        "calibration.truth": fitted.calibration.truth_WH,
        "calibration.series": np.empty(0, np.int64) if owners is None else owners.series_W,
        "calibration.stretch": np.empty(0, np.int64) if owners is None else owners.stretch_W,
        "history.offsets": history.offsets,
        "history.times": history.times.astype("int64"),
        "history.target": history.target,
        "history.hist": history.hist,
        "history.futr": history.futr,
        "history.stat": np.empty((len(history), 0)) if history.stat is None else history.stat,
        "history.earlier": np.zeros(len(history)) if history.earlier is None else history.earlier,
        "history.lowest": np.full(len(history), np.inf) if history.lowest is None else history.lowest,
    }
    tensors = {f"model.{name}": value.detach().cpu().contiguous() for name, value in fitted.model.state_dict().items()}
    tensors |= {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}
    files = {_CONFIG: json_text(config, indent=1).encode(), _WEIGHTS: save_tensors(tensors)}
    manifest = {
        "schema": SCHEMA,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        "versions": {"openbook": __version__, "torch": str(torch.__version__), "python": platform.python_version()},
    }
    return {**files, _MANIFEST: json_text(manifest, indent=1).encode()}


def _read(path: Path) -> dict[str, bytes]:
    if not is_there(path):
        got, hint = absent(path)
        raise ModelFileError(
            "missing_file", expected="a folder or .ob file written by save", got=got, where=str(path), fix=hint
        )
    if (path / "run.json").exists() and not (path / _MANIFEST).exists():
        raise ModelFileError(
            "bad_model_file",
            expected="a folder or .ob file written by save",
            got="the results of a backtest (run.json)",
            where=str(path),
            fix="name what fit wrote: backtest keeps no model",
        )
    try:
        if path.is_dir():
            return {name: (path / name).read_bytes() for name in _FILES}
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in _FILES}
    except (
        OSError,
        KeyError,
        EOFError,
        RuntimeError,
        zlib.error,
        zipfile.BadZipFile,
    ) as error:  # packed as no save does
        raise _broken(path, "a folder or .ob file written by save", str(error)) from error


def _checked(files: dict[str, bytes], path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    try:
        manifest = json.loads(files[_MANIFEST])
        if set(manifest["sha256"]) != {_CONFIG, _WEIGHTS}:
            raise _broken(path, f"a manifest that tells the content of {_CONFIG} and {_WEIGHTS}", "another one")
        for name, digest in manifest["sha256"].items():
            if hashlib.sha256(files[name]).hexdigest() != digest:
                raise _broken(path, f"{name} as it was saved", "other content (sha256 differs)")
        if manifest["schema"] not in _READABLE:
            known = " or ".join(map(str, _READABLE))
            raise _broken(path, f"a model file of schema {known}", f"schema {manifest['schema']}")
        config = json.loads(files[_CONFIG])
        for model in (config["model"], config["fitted_model"]) if manifest["schema"] < 4 else ():
            if model["name"] == "darnn":
                model.setdefault("centred_keys", False)
            model.pop("gap_dropout", None)  # of day_to_day; in training only
        return config, load_tensors(files[_WEIGHTS])
    except (ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise _broken(path, "readable JSON and tensors", f"{type(error).__name__}: {error}") from error


def _rebuild(
    kind: type[Forecaster], config: dict[str, Any], tensors: dict[str, torch.Tensor], path: Path
) -> Forecaster:
    from openbook.forecast.fitted import Fitted

    inputs = Inputs(*(tuple(config["inputs"][name]) for name in Inputs._fields))
    forecaster = kind(
        config["h"],
        model=config_from_dict(config["model"]),
        input_size=config["input_size"],
        freq=config["freq"],
        futr_exog_list=config["futr_exog_list"],
        hist_exog_list=config["hist_exog_list"],
        stat_exog_list=inputs.stat,
        train=TrainConfig(**config["train"] | ({"budget_s": math.inf} if config["train"]["budget_s"] == "inf" else {})),
        seed=config["seed"],
        scaling=config["scaling"],
        country=config.get("country"),
        season_length=config.get("season_length"),
        alias=config.get("alias"),
    )
    shape = ModelShape(**{**config["shape"], "quantiles": tuple(config["shape"]["quantiles"])})
    made = config_from_dict(config["fitted_model"])
    model = build_model(made, shape, forecaster.seed)
    _fill(model, {name[6:]: value for name, value in tensors.items() if name.startswith("model.")}, path)
    arrays = {name: value.numpy() for name, value in tensors.items() if not name.startswith("model.")}
    forecaster.categories_ = {name: tuple(values) for name, values in config.get("categories", {}).items()}
    layout = Layout(**{name: _plain(value) for name, value in config["layout"].items()})
    history = _history(config, arrays, layout)
    forecaster.inputs, forecaster.columns = inputs, _names(config["columns"])
    forecaster.readings_ = {str(name): str(told) for name, told in config.get("readings", {}).items()}
    forecaster.decisions = {
        name: Decision(_plain(value["value"]), value["why"]) for name, value in config["decisions"].items()
    }
    forecaster.history_, windows = history, WindowShape(**config["windows"])
    forecaster.fitted_ = Fitted(
        model.eval(),
        made,
        shape,
        layout,
        windows,
        ColumnScaler(arrays["columns.mean"], arrays["columns.std"]),
        _calibration(config, arrays, shape.quantiles),
        history.freq,
        config["season"],
        config["lower_bound"],
        config.get("own_bounds", {}),
        _choice(config["choice"]),
        config.get("learned_until"),
        config.get("learned_beyond", {}),
        saved_widening(config.get("widening", ()), windows.scale_steps or windows.input_size),
        tuple(map(tuple, config.get("spread", ()))),
        config.get("still", {}),
    )
    return forecaster


def _calibration(config: dict[str, Any], arrays: dict[str, np.ndarray], quantiles: tuple[float, ...]) -> Calibration:
    names = tuple(config.get("calibrated_on", ()))
    owners = Owners(names, arrays["calibration.series"], arrays["calibration.stretch"]) if names else None
    told = arrays["calibration.quantile"], arrays["calibration.truth"]
    if owners is not None and (
        len(owners.series_W) != len(told[1])
        or len(owners.stretch_W) != len(told[1])
        or not ((owners.series_W >= 0) & (owners.series_W < len(names))).all()
    ):
        raise ValueError("windows of series that are not there")
    return Calibration(quantiles, *told, config["independent"], owners)


def _choice(saved: dict[str, Any]) -> Choice:
    own = {name: tuple(share) for name, share in saved["by_series"].items()}
    return Choice(tuple(saved["names"]), tuple(saved["share"]), own)


def _history(config: dict[str, Any], arrays: dict[str, np.ndarray], layout: Layout) -> Panel:
    saved = config["history"]
    futr, moving = arrays["history.futr"], len(config["inputs"]["futr"])
    if "history.stat" in arrays:
        stat = arrays["history.stat"]
    else:
        futr, stat = futr[:, :moving], futr[arrays["history.offsets"][:-1], moving:]
    ids = [_KINDS[kind](name) for name, kind in zip(saved["ids"], saved["id_kinds"], strict=True)]
    return Panel(
        ids=np.array(ids, dtype=object),
        offsets=arrays["history.offsets"],
        times=arrays["history.times"].astype("datetime64[ns]") if saved["dates"] else arrays["history.times"],
        target=arrays["history.target"],
        hist=arrays["history.hist"],
        futr=futr,
        freq=saved["freq"],
        hist_columns=layout.hist,
        futr_columns=layout.futr[:moving],
        timezone=saved["timezone"],
        static=layout.futr[moving:],
        stat=stat if stat.shape[1] else None,
        earlier=arrays.get("history.earlier"),
        lowest=arrays.get("history.lowest"),
    )


def _fill(model: torch.nn.Module, weights: dict[str, torch.Tensor], path: Path) -> None:
    """Load weights by exact names and shapes."""
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if wanted != found:
        odd = sorted(set(wanted.items()) ^ set(found.items()))
        raise _broken(
            path, f"tensors of {len(wanted)} names and shapes", f"differences at {', '.join(n for n, _ in odd[:5])}"
        )
    model.load_state_dict(weights)


def _id_value(name: Any) -> Any:
    """A series' name as JSON keeps it; numpy scalars are unwrapped, what JSON does not know becomes text."""
    value = name.item() if isinstance(name, np.integer | np.floating | np.bool_) else name
    return value if type(value) in _KINDS.values() else str(value)


def _names(saved: dict[str, Any]) -> ColumnNames:
    return ColumnNames(**{role: _plain(name) for role, name in saved.items()})


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _would_overwrite(path: Path, expected: str, got: str) -> UsageError:
    return UsageError(
        "would_overwrite",
        expected=expected,
        got=got,
        where=str(path),
        fix="choose another name, or move away what is there",
    )


def _broken(path: Path, expected: str, got: str) -> ModelFileError:
    return ModelFileError(
        "bad_model_file",
        expected=expected,
        got=got,
        where=str(path),
        fix="save the model again, or use the release that wrote it",
    )
