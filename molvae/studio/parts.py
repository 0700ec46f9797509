"""Small parts that the panels of the page share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nicegui import ui
from nicegui.element import Element

from molvae.studio.facts import picture_address

STYLE = """
body { background: #f4f5f7; color: #1d2733; }
.panel { background: #fff; border: 1px solid #dfe3e8; border-radius: 8px; padding: 10px 12px; }
.smiles { font-family: monospace; font-size: 12px; overflow-wrap: anywhere; }
.facts { display: grid; grid-template-columns: auto minmax(48px, 1fr); gap: 1px 12px; }
.facts { font-size: 13px; }
.structure { width: 190px; height: 190px; flex: none; }
.strip.all { flex-wrap: wrap; } .cards .cell { position: relative; }
.cards input { position: absolute; top: 6px; left: 6px; z-index: 1; }
.strip { display: flex; gap: 6px; overflow-x: auto; padding-bottom: 4px; max-width: 100%; }
.cell { border: 1px solid #dfe3e8; border-radius: 6px; background: #fff; cursor: pointer; }
.cell:hover, .cell.on { border-color: #d35400; }
.rows { border-collapse: collapse; width: 100%; font-size: 13px; }
.rows th { text-align: left; font-size: 12px; font-weight: 500; padding: 6px 8px; }
.rows td { border-top: 1px solid #e4e7eb; padding: 2px 8px; }
.rows td.smiles { min-width: 200px; max-width: 300px; }
.rows tbody tr { cursor: pointer; } .rows tbody tr:hover { background: #f4f5f7; }
.rows tbody tr.on { background: #fdf1e7; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(200px, 45%), 1fr)); }
.cards { gap: 8px; } .cards .cell { padding: 4px; white-space: pre-wrap; }
.rows img, .cards img { mix-blend-mode: multiply; } /* no white square on a marked row */
.rows img:not([src]), .cards img:not([src]) { visibility: hidden; }
.peek { display: none; position: fixed; right: 10px; bottom: 10px; z-index: 20; padding: 4px; }
.peek.full.away { display: block; width: 160px; box-shadow: 0 2px 12px #0004; }
.note { font-size: 12px; color: #5a6675; }
.w-full { width: 100%; } .max-w-full { max-width: 100%; } .grow { flex-grow: 1; }
.widest { max-width: 1700px; margin-left: auto; margin-right: auto; }
.gap-0 { gap: 0; } .gap-1 { gap: 4px; } .gap-2 { gap: 8px; } .gap-3 { gap: 12px; }
.gap-8 { gap: 32px; }
.p-1 { padding: 4px; }
.items-start { align-items: flex-start; } .items-center { align-items: center; }
.items-end { align-items: flex-end; } .items-stretch { align-items: stretch; }
.text-xs { font-size: 12px; line-height: 16px; } .text-sm { font-size: 14px; line-height: 20px; }
.text-lg { font-size: 18px; line-height: 28px; }
.font-bold { font-weight: 700; } .font-medium { font-weight: 500; }
.q-btn.q-btn--dense { padding: 2px 10px; }
@media (min-width: 900px) { /* the map stays while a long column beside it is read */
  .staying { position: sticky; top: 8px; align-self: flex-start; }
}
@media (max-width: 599px) {
  .structure { width: 120px; height: 120px; }
  .q-tab { min-width: 0; padding: 0 5px; } .q-tab .q-tab__label { font-size: 12px; }
}
.q-tab-panels, .q-tab-panel { padding: 6px 0; background: transparent; }
"""


def show_structure(smiles: str, width: int, height: int, lost: list[int] | None = None) -> Element:
    """SMILES -> its drawing.

    Args:
        smiles: a valid SMILES.
        width: pixels.
        height: pixels.
        lost: atoms to highlight.
    """
    picture = ui.element("img").style(f"width:{width}px;height:{height}px;object-fit:contain")
    picture.props["src"], picture.props["alt"] = picture_address(smiles, lost), smiles
    picture.props["loading"] = "lazy"
    return picture


def show_card(smiles: str, caption: str, act: Callable[[], Any]) -> Element:
    """SMILES and a line of text -> a small card that does something when it is clicked."""
    with ui.column().classes("cell gap-0 p-1").style("flex:none;width:128px") as cell:
        show_structure(smiles, 118, 100)
        ui.label(caption).classes("text-xs")
    cell.on("click", lambda: act())
    return cell
