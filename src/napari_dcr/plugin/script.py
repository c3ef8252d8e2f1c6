"""Convert the record of a result to Python code that reproduces it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_dcr.options import Options

FIRST = ("model", "depth", "axes")
"""Arguments that the code always includes."""

SIDES = ("residual", "uncertainty")
"""Names of further results that a call can return."""

READABLE = {".tif", ".tiff", ".png", ".jpg", ".jpeg"}


def as_python(record: dict[str, Any]) -> str:
    """Python code that reproduces a result layer's array.

    The code runs in any script if the source was read from a file, otherwise in napari's console.

    Parameters
    ----------
    record : dict
        Record of the result, from the layer's metadata.

    Examples
    --------
    >>> source = {"layer": "street", "path": None, "multiscale": False}
    >>> record = {"options": {"model": "auto", "strength": 0.5}, "model": "photo", "depth": 1,
    ...           "axes": "yx", "source": source}
    >>> print(as_python(record), end="")
    import napari_dcr
    <BLANKLINE>
    image = viewer.layers['street'].data
    result = napari_dcr.enhance(
        image,
        model='photo',
        depth=1,
        axes='yx',
        strength=0.5,
    )
    # viewer.add_image(result, name='street (again)')
    """
    source, staged = record["source"], "stages" in record
    opened = _opened(source)
    lines = ["import numpy as np", ""] * (staged or opened is not None) + ["import napari_dcr", ""]
    if opened is not None:
        lines.append(f"image = np.asarray({opened}")
    else:
        level = "[0]" * source["multiscale"]
        lines.append(f"image = viewer.layers[{source['layer']!r}].data{level}")
    # Use the resolved values of "auto", so that other machines and versions do the same.
    resolved: dict[str, Any] = {
        key: record[key] for key in ("model", "depth", "axes", "precision") if key in record
    }
    used = record.get("neighbours")
    if used is not None:
        resolved |= {"neighbours": used["frames"], "neighbour_axis": used["axis"]}
    chosen = {**record["options"], **resolved}
    defaults = Options().to_dict()
    shown = [
        name
        for name in chosen
        if chosen[name] != defaults.get(name) and not name.startswith("return_")
    ]
    shown = list(dict.fromkeys([*FIRST, *sorted(shown)]))
    sides = [name for name in SIDES if chosen.get(f"return_{name}")] if not staged else []
    shown += [f"return_{name}" for name in sides]
    if staged:
        shown.remove("depth")
    call = ["napari_dcr.enhance(", "    image,"]
    call += ["    depth=depth,"] * staged
    # At depth 0 there is nothing that neighbours could help with.
    only = {"neighbours": " if depth else 0"} if staged and used is not None else {}
    call += [f"    {name}={_plain(chosen[name])!r}{only.get(name, '')}," for name in shown]
    call += [")"]
    if staged:
        lines += ["result = np.stack(", "    ["]
        lines += ["        " + line for line in call]
        lines += [f"        for depth in range({record['depth'] + 1})", "    ]", ")"]
    else:
        lines += [f"{', '.join(['result', *sides])} = {call[0]}", *call[1:]]
    if "region" in record:
        region = ", ".join(f"{start}:{stop}" for start, stop in record["region"])
        lines.append(f"result = result[{':, ' * staged}{region}]")
    lines.append(f"# viewer.add_image(result, name={source['layer'] + ' (again)'!r})")
    return "\n".join(lines) + "\n"


def _opened(source: dict[str, Any]) -> str | None:
    """Code that opens a layer's file and takes its pixels; None for layers without such a file."""
    file = source.get("file")
    if file is not None:
        paths, scene = file["paths"], file["scene"]
        image = repr(paths[0] if len(paths) == 1 else paths)
        image += "" if scene is None else f", scene={scene}"
        return f"napari_dcr.open_image({image}, upright=True).array){file['index']}"
    path = source["path"]
    if path is None or Path(path).suffix.lower() not in READABLE:
        return None
    return f"napari_dcr.open_image({path!r}).array)"


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
