# SPDX-License-Identifier: MIT
"""Charts as SVG and the page around them, by hand: text in, text out, no file and no process. Every colour is a variable
with a value for light and one for dark, so a chart reads the same in both, inside a page or as a file of its own.
"""
import html
import math

COLOURS = 8
STYLE = """
:root { --ink: #1c2430; --faint: #d5dae1; --paper: #ffffff; --dim: #5b6675;
  --c0: #0b6bcb; --c1: #c2410c; --c2: #15803d; --c3: #7e22ce; --c4: #b45309; --c5: #0e7490; --c6: #be185d; --c7: #4d5a6a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e5e9ef; --faint: #38414e; --paper: #12161c; --dim: #9aa6b5;
  --c0: #5aa9ff; --c1: #ff9258; --c2: #5fd38a; --c3: #c99bff; --c4: #f0b95b; --c5: #58cfe3; --c6: #ff8cc0; --c7: #aab6c4; } }
svg { font: 13px system-ui, sans-serif; fill: var(--ink); }
svg .grid { stroke: var(--faint); } svg .axis { stroke: var(--dim); } svg .dim { fill: var(--dim); }
svg .title { font-weight: 600; font-size: 15px; }
""" + "".join(f"svg .f{i} {{ fill: var(--c{i}); }} svg .l{i} {{ stroke: var(--c{i}); fill: none; stroke-width: 2; }}\n"
              for i in range(COLOURS))


def number(value):
    """Three significant digits, and no more than is needed."""
    if value == 0:
        return "0"
    size = abs(value)
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if size >= scale * 0.9995:
            return f"{value / scale:.3g}{unit}" if size < scale * 999.5 else f"{value / scale:.0f}{unit}"
    return f"{value:.3g}" if size < 99.95 else f"{value:.0f}"


def text(x, y, words, anchor="start", css=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{css}">{html.escape(str(words))}</text>'


def svg(width, height, parts, title):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'role="img" aria-label="{html.escape(title, quote=True)}">{"".join(parts)}</svg>')


def alone(drawing):
    """A drawing as a file of its own: with its style, on paper."""
    cut = drawing.index(">") + 1
    return f'{drawing[:cut]}<style>{STYLE}</style><rect width="100%" height="100%" style="fill: var(--paper)"/>{drawing[cut:]}\n'


def bars(title, rows, unit):
    """Horizontal bars: rows of (label, value, words behind the value, colour), the shortest best."""
    width, left, top, step = 760, 170, 34, 26
    height = top + step * len(rows) + 8
    most = max((value for _, value, *_ in rows), default=1) or 1
    room = width - left - 210
    parts = [text(4, 18, title, css="title"), text(width - 4, 18, unit, "end", "dim")]
    for index, (label, value, words, colour) in enumerate(rows):
        y = top + step * index
        length = max(1.0, room * value / most)
        parts += [text(left - 8, y + 16, label, "end"),
                  f'<rect x="{left}" y="{y + 3}" width="{length:.1f}" height="{step - 8}" rx="2" class="f{colour % COLOURS}"/>',
                  text(left + length + 6, y + 16, f"{number(value)}{chr(0x2003) + words if words else ''}")]
    return svg(width, height, parts, title)


def steps(low, high, log):
    """Where the grid lines of an axis go."""
    if log:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        marks = [10.0 ** power for power in range(first, last + 1)]
        return marks if len(marks) > 2 else [m * f for m in marks[:-1] for f in (1, 2, 5)] + marks[-1:]
    size = 10 ** math.floor(math.log10(high / 4 or 1))
    size = next(size * f for f in (1, 2, 2.5, 5, 10) if high / (size * f) <= 6)
    return [size * index for index in range(int(math.ceil(high / size)) + 1)]


def lines(title, series, x_name, y_name, log_x=False, log_y=False):
    """Lines with points: series of (label, [(x, y), ...])."""
    points = [p for _, values in series for p in values if (p[1] > 0 or not log_y)]
    if not points:
        return svg(760, 40, [text(4, 18, title + ": nothing was measured", css="title")], title)
    width, height, left, right, top, bottom = 760, 380, 66, 210, 40, 44
    marks_x = steps(min(p[0] for p in points), max(p[0] for p in points), log_x)
    marks_y = steps(min(p[1] for p in points), max(p[1] for p in points) or 1, log_y)

    def place(value, marks, log, begin, end):
        low, high = marks[0], marks[-1]
        if log:
            value, low, high = math.log10(max(value, low)), math.log10(low), math.log10(high)
        return begin + (end - begin) * (value - low) / ((high - low) or 1)

    at_x = lambda value: place(value, marks_x, log_x, left, width - right)
    at_y = lambda value: place(value, marks_y, log_y, height - bottom, top)
    parts = [text(4, 18, title, css="title")]
    for mark in marks_x:
        parts += [f'<line x1="{at_x(mark):.1f}" y1="{top}" x2="{at_x(mark):.1f}" y2="{height - bottom}" class="grid"/>',
                  text(at_x(mark), height - bottom + 18, number(mark), "middle", "dim")]
    for mark in marks_y:
        parts += [f'<line x1="{left}" y1="{at_y(mark):.1f}" x2="{width - right}" y2="{at_y(mark):.1f}" class="grid"/>',
                  text(left - 6, at_y(mark) + 4, number(mark), "end", "dim")]
    parts += [text((left + width - right) / 2, height - 8, x_name, "middle", "dim"), text(4, 34, y_name, css="dim")]
    for index, (label, values) in enumerate(series):
        values = [(at_x(x), at_y(y)) for x, y in sorted(values) if y > 0 or not log_y]
        colour = index % COLOURS
        if len(values) > 1:
            dash = ' stroke-dasharray="5 4"' if index >= COLOURS else ""
            parts.append(f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in values)}" class="l{colour}"{dash}/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" class="f{colour}"/>' for x, y in values]
        parts += [f'<rect x="{width - right + 14}" y="{top + 20 * index}" width="12" height="12" class="f{colour}"/>',
                  text(width - right + 32, top + 20 * index + 11, label)]
    return svg(width, height, parts, title)


def table(head, rows):
    cells = lambda row, tag: "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in row)
    return (f"<table><thead><tr>{cells(head, 'th')}</tr></thead><tbody>" +
            "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows) + "</tbody></table>")


def page(title, intro, parts):
    """A page of its own: no script, nothing fetched."""
    about = "".join(f"<p>{html.escape(line)}</p>" for line in intro)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>{html.escape(title)}</title>
<style>{STYLE}
body {{ color: var(--ink); background: var(--paper); font: 16px/1.5 system-ui, sans-serif; max-width: 860px; margin: 2em auto;
  padding: 0 1em; }}
h1 {{ font-size: 1.6em; }} h2 {{ font-size: 1.2em; margin-top: 2em; }} svg {{ max-width: 100%; height: auto; }}
table {{ border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; display: block; overflow-x: auto; }}
th, td {{ text-align: right; padding: .2em .7em; border-bottom: 1px solid var(--faint); }}
th:first-child, td:first-child {{ text-align: left; }} p {{ color: var(--dim); }}
</style></head><body><h1>{html.escape(title)}</h1>{about}
{"".join(parts)}
</body></html>
"""


def heading(words, about=""):
    return f"<h2>{html.escape(words)}</h2>" + (f"<p>{html.escape(about)}</p>" if about else "")
