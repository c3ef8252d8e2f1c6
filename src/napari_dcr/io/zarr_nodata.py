"""The value of pixels without data of a zarr array, as an attribute by the CF conventions."""

from __future__ import annotations

import base64
import struct
from typing import Any

import numpy as np

NODATA = "_FillValue"
"""Name of the attribute."""


def nodata_attributes(nodata: float | None, dtype: np.dtype[Any]) -> dict[str, Any]:
    """Attribute of an array with the value of pixels without data, encoded as by xarray.

    Examples
    --------
    >>> nodata_attributes(-9999, np.dtype("int16"))
    {'_FillValue': -9999}
    """
    if nodata is None:
        return {}
    if dtype.kind in "iu":
        return {NODATA: int(nodata)}
    value = float(dtype.type(nodata))
    return {NODATA: base64.b64encode(struct.pack("<d", value)).decode()}


def nodata_of(array: Any) -> float | None:
    """No-data value that the attribute ``_FillValue`` of an array states, or None.

    The ``fill_value`` of the array is none, because it is 0 by default.
    """
    value = array.attrs.get(NODATA)
    try:
        if isinstance(value, str) and value.endswith("="):  # as xarray writes floats
            value = struct.unpack("<d", base64.b64decode(value))[0]
        value = float(value)
    except (TypeError, ValueError, struct.error):
        return None
    return None if np.isnan(value) else value  # NaN is never data
