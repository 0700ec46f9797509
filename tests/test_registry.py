import math
import sys

import pytest

from molvae.base.registry import Registry, UnknownNameError


def test_a_wrong_name_is_answered_with_the_nearest_and_all_known() -> None:
    colours: Registry[str] = Registry("colour")
    colours.register("red")("#f00")
    colours.register("green")("#0f0")
    with pytest.raises(UnknownNameError, match=r"colour 'gren': did you mean 'green'\?.*red"):
        colours["gren"]
    with pytest.raises(ValueError, match="registered already"):
        colours.register("red")


def test_a_dotted_name_is_imported() -> None:
    functions: Registry[object] = Registry("function")
    assert functions["math:sqrt"] is math.sqrt
    for wrong in ("math:nothing", "no.such.module:f", ":f"):
        with pytest.raises(UnknownNameError, match="cannot import"):
            functions[wrong]


def test_a_name_from_a_file_is_never_imported() -> None:
    functions: Registry[object] = Registry("function")
    assert functions.without_import("math:sqrt") is math.sqrt  # imported by this test
    with pytest.raises(UnknownNameError, match="import antigravity first"):
        functions.without_import("antigravity:fly")
    assert "antigravity" not in sys.modules
