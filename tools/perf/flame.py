# SPDX-License-Identifier: MIT
"""flame.py [TITLE] <STACKS >SVG: `perf script` on standard input to a flame graph on standard output.

A box is a function; it stands on what called it, and is as wide as the share of samples it was found in. Order from left
to right means nothing (by name, so that two graphs can be compared). The kernel, this program and libraries have a hue
each. The words of a box show in full when the pointer rests on it.
"""
import html
import re
import sys

WIDTH, ROW, CHAR = 1200, 17, 6.6
STYLE = """
svg { --ink: #1c2430; --paper: #ffffff; --edge: #ffffff; --kernel: #f4a261; --own: #8ecae6; --library: #b7d7a8; --root: #d5dae1; }
@media (prefers-color-scheme: dark) { svg { --ink: #eef1f5; --paper: #12161c; --edge: #12161c; --kernel: #9c4f14;
  --own: #1f5f8b; --library: #3f6b35; --root: #38414e; } }
text { font: 11px ui-monospace, monospace; fill: var(--ink); pointer-events: none; }
.title { font: 600 14px system-ui, sans-serif; }
rect { stroke: var(--edge); stroke-width: .5; } .k { fill: var(--kernel); } .o { fill: var(--own); }
.l { fill: var(--library); } .r { fill: var(--root); }
"""
FRAME = re.compile(r"^\s+[0-9a-f]+ (.+?)(?:\+0x[0-9a-f]+)? \((.*)\)$")
HEAD = re.compile(r"^(\S.*?)\s+\d+(?:/\d+)?\s+(?:\[\d+\]\s+)?[\d.]+:")


class Node:
    def __init__(self, kind):
        self.kind, self.count, self.children = kind, 0, {}


def kind_of(place):
    if place.startswith("[kernel") or place.endswith(".ko") or place == "[vdso]":
        return "k"
    return "l" if ".so" in place else "o"


def read(lines):
    """Samples as (thread, [(name, kind), ...] from the leaf to the root)."""
    thread, stack = None, []
    for line in lines:
        head = HEAD.match(line)
        frame = FRAME.match(line)
        if not line.strip():
            if thread is not None:
                yield thread, stack
            thread, stack = None, []
        elif frame and thread is not None:
            name, place = frame.groups()
            if place != "[unknown]":  # the unwinder lost its way
                stack.append((name if name != "[unknown]" else f"({place.rsplit('/', 1)[-1]})", kind_of(place)))
        elif head:
            thread, stack = head.group(1).rstrip("0123456789").rstrip("-"), []
    if thread is not None:
        yield thread, stack


def build(samples):
    root = Node("r")
    for thread, stack in samples:
        root.count += 1
        node = root.children.setdefault(thread, Node("r"))
        node.count += 1
        for name, kind in reversed(stack):
            node = node.children.setdefault(name, Node(kind))
            node.count += 1
    return root


def depth_of(node, least):
    return 1 + max((depth_of(child, least) for child in node.children.values() if child.count >= least), default=0)


def draw(node, name, x, level, scale, height, least, total, out):
    width = node.count * scale
    y = height - (level + 1) * ROW
    words = f"{name} ({100 * node.count / total:.1f} %, {node.count} samples)"
    room = int((width - 6) / CHAR)
    out.append(f'<g><title>{html.escape(words)}</title><rect class="{node.kind}" x="{x:.1f}" y="{y}" width="{width:.1f}" '
               f'height="{ROW - 1}" rx="1"/>')
    if room >= 3:
        shown = name if len(name) <= room else name[:room - 1] + "…"
        out.append(f'<text x="{x + 3:.1f}" y="{y + 12}">{html.escape(shown)}</text>')
    out.append("</g>")
    for child_name, child in sorted(node.children.items()):
        if child.count >= least:
            draw(child, child_name, x, level + 1, scale, height, least, total, out)
        x += child.count * scale


def graph(root, title):
    total = max(root.count, 1)
    least = max(1, total / WIDTH / 2)  # narrower than half a pixel is not seen
    height = (depth_of(root, least) + 1) * ROW + 30
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">',
           f'<style>{STYLE}</style><rect width="100%" height="100%" style="fill: var(--paper)"/>',
           f'<text class="title" x="6" y="18">{html.escape(title)}: {root.count} samples of processor time</text>']
    draw(root, "all", 0, 0, WIDTH / total, height - 4, least, total, out)
    return "".join(out) + "</svg>\n"


if __name__ == "__main__":
    sys.setrecursionlimit(10000)
    tree = build(read(sys.stdin))
    if not tree.count:
        sys.exit("flame.py: no samples: was the process idle, or may perf not look at it?")
    sys.stdout.write(graph(tree, sys.argv[1].strip() if len(sys.argv) > 1 else "flame graph"))
