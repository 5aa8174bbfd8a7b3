#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""structure.py BUILD [--show FOLDER] [--root DIRECTORY]: who uses whom, measured from what the compiler made.

How it counts. `nm` says of each object under BUILD/obj which symbols it defines for others (functions and data alike) and
which it lacks. An arrow A -> B stands for "A lacks at least one symbol that B defines"; two files have one arrow each way
at most, however many symbols it carries. An include is no arrow, nor is an inline function, nor a function that was handed
in as a pointer.
  circle        files of one folder, each of which reaches each other along arrows (a strongly connected component)
  back arrows   the fewest arrows of a folder that would have to go so that no circle is left; among several such choices
                the one that carries the fewest symbols. Exact for circles of up to EXACT_MAX files. For larger ones a
                local search gives an upper bound, and the line says "at most".

What must hold, each a line "ok structure: ..." or "FAIL structure: ..." with what is wrong and what helps:
  - BOUNDS: the largest circle and the back arrows of each folder that has C files
  - no circle through several folders
  - no arrow upwards between ROOMS, and nothing in tools/ that the shared library does not export
  - no symbol that two files define: in a static library one of them would be taken silently
  - no file of more than LINES_MAX lines in SIZED, except those that LONG names

--show prints the files of a folder from roof to floor, each with its arrows and their symbols; `^` marks a back arrow.
"""
import collections
import os
import subprocess
import sys

ROOMS = ["engine", "tls", "uring", "tools"]  # floor to roof: a room may use those before it
# The most files in one circle and the most back arrows; what is not named here has DEFAULT.
BOUNDS = {"tls": (2, 1), "uring": (3, 10)}
DEFAULT = (1, 0)
APART = "tools/examples/"  # each is a program of its own, which sees what is installed
EXACT_MAX = 18
LINES_MAX = 600
SIZED = ["engine", "tls", "uring", "tools", "benches"]
LONG = {}  # path: why it is one thing all the same, a table for example

REMEDY = {
    "circle": "let the lower file return a value on which its caller acts, hand the function in as a pointer, or move what "
              "both need into a file below both",
    "room": "a lower room never calls upwards: return a value, or take a function pointer",
    "private": "the programs have the public header alone: export it there (RC_API), or do without",
    "twice": "give one of them another name",
    "size": "it is more than one thing: divide it",
}


class Objects:
    """What the objects of the rooms define and lack. Files are named by their source, as "uring/pump.c"."""

    def __init__(self, root, build):
        self.defined = {}  # symbol: files
        self.lacked = collections.defaultdict(set)  # file: symbols
        self.files = sorted(path for room in ROOMS for path in files_below(root, room, (".c", ".cpp")) if not path.startswith(APART))
        objects = {os.path.join(build, "obj", os.path.splitext(path)[0] + ".o"): path for path in self.files}
        absent = [path for name, path in objects.items() if not os.path.exists(name)]
        if absent or not objects:
            sys.exit("FAIL structure: not built: %s" % (" ".join(absent) or "no sources"))
        weak = {}  # may stand in several objects, as the mark of a probe does
        for name, symbol, kind in nm(["-A"], sorted(objects)):
            path = objects[name]
            if kind in "Uwv":
                self.lacked[path].add(symbol)
            elif kind in "VW":
                weak.setdefault(symbol, [path])
            elif kind.isupper() or kind in "ui":
                self.defined.setdefault(symbol, []).append(path)
        self.defined = {**weak, **self.defined}

    def arrows(self):
        """(from, to): the symbols, of all files of all rooms."""
        arrows = collections.defaultdict(set)
        for path, symbols in self.lacked.items():
            for symbol in symbols:
                for owner in self.defined.get(symbol, [])[:1]:
                    arrows[path, owner].add(symbol)
        return arrows


def nm(options, names):
    """(object, symbol, type) of each symbol; the type is nm's letter."""
    output = subprocess.run(["nm", "-P", *options, *names], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    for line in output.stdout.decode().splitlines():
        name, separator, rest = line.rpartition(": ")
        fields = (rest if separator else line).split()
        if len(fields) >= 2:
            yield name, fields[0], fields[1]


def files_below(root, folder, endings):
    for here, folders, names in os.walk(os.path.join(root, folder)):
        folders[:] = [name for name in folders if name != "node_modules"]
        for name in names:
            if name.endswith(endings):
                yield os.path.relpath(os.path.join(here, name), root)


def folder_of(path):
    return os.path.dirname(path)


def room_of(path):
    return path.split("/", 1)[0]


# ------------------------------------------------------------------------------------------------------- the graph --

def circles(nodes, arrows):
    """The strongly connected components of more than one node, the largest first."""
    reached = {}
    for start in nodes:
        seen, waiting = set(), [start]
        while waiting:
            for node in arrows[waiting.pop()]:
                if node not in seen:
                    seen.add(node)
                    waiting.append(node)
        reached[start] = seen
    found = {tuple(sorted(other for other in reached[node] if node in reached[other])) for node in nodes}
    return sorted((circle for circle in found if len(circle) > 1), key=lambda circle: (-len(circle), circle))


def exact_order(weights):
    """Floor to roof with the least weight of arrows upwards: the best order of each subset, from those one smaller.

    weights[a][b] is what an arrow from a to b costs when b stands above a. Of equal orders the first by index wins."""
    count = len(weights)
    half = count // 2
    # What node costs when it is put onto the files of a subset: its arrows to all that are not in it yet. Two tables a
    # node, one for each half of the subset's bits.
    low, high = [], []
    for row in weights:
        low.append(subset_sums(row[:half]))
        high.append(subset_sums(row[half:]))
    mask = (1 << half) - 1
    best, last = [0] * (1 << count), [0] * (1 << count)
    for subset in range(1, 1 << count):
        least = None
        for node in range(count):
            if subset >> node & 1:
                below = subset ^ 1 << node
                cost = best[below] + low[node][~below & mask] + high[node][~(below >> half) & (1 << count - half) - 1]
                if least is None or cost < least:
                    least, last[subset] = cost, node
        best[subset] = least
    order, subset = [], (1 << count) - 1
    while subset:
        order.append(last[subset])
        subset ^= 1 << last[subset]
    return order[::-1]


def subset_sums(values):
    sums = [0]
    for value in values:
        sums += [value + total for total in sums]
    return sums


def good_order(weights):
    """The same for circles too large for that: each node in turn moves to where it costs least, until none gains."""
    order = list(range(len(weights)))
    order.sort(key=lambda node: (sum(weights[node]) - sum(row[node] for row in weights), node))
    gained = True
    while gained:
        gained = False
        for node in range(len(weights)):
            place = order.index(node)
            order.remove(node)
            costs = [sum(weights[node])]
            for other in order:
                costs.append(costs[-1] - weights[node][other] + weights[other][node])
            best = min(range(len(costs)), key=lambda index: (costs[index], index))
            if costs[best] < costs[place]:
                place, gained = best, True
            order.insert(place, node)
    return order


class Folder:
    """The files of one folder, the arrows among them, and how they stand: floor to roof with the fewest back arrows."""

    def __init__(self, name, files, arrows):
        self.name, self.files = name, files
        self.arrows = {pair: symbols for pair, symbols in arrows.items() if pair[0] in files and pair[1] in files}
        out = {path: set() for path in files}
        for user, owner in self.arrows:
            out[user].add(owner)
        self.circles = circles(files, out)
        self.exact = all(len(circle) <= EXACT_MAX for circle in self.circles)
        self.order = self.stand(out)
        rank = {path: index for index, path in enumerate(self.order)}
        self.back = sorted(pair for pair in self.arrows if rank[pair[1]] > rank[pair[0]])

    def stand(self, out):
        whole = {path: (path,) for path in self.files}
        for circle in self.circles:
            whole.update({path: circle for path in circle})
        order, placed = [], set()
        while len(placed) < len(self.files):
            # The first component all of whose arrows out of it lead to what stands already.
            ready = next(whole[path] for path in self.files if path not in placed and
                         all(other in placed or whole[other] == whole[path] for one in whole[path] for other in out[one]))
            order += self.within(ready)
            placed.update(ready)
        return order

    def within(self, circle):
        if len(circle) == 1:
            return circle
        # An arrow outweighs all symbols: first the fewest arrows, then the fewest symbols.
        heavy = sum(len(symbols) for symbols in self.arrows.values()) + 1
        weights = [[heavy + len(self.arrows[a, b]) if (a, b) in self.arrows else 0 for b in circle] for a in circle]
        order = exact_order(weights) if len(circle) <= EXACT_MAX else good_order(weights)
        return [circle[index] for index in order]

    def figures(self):
        if not self.circles:
            return "%s/: %d files, %d arrows, no circle" % (self.name, len(self.files), len(self.arrows))
        return "%s/: %d files, %d arrows, %s%d back up, largest circle %d files" % (
            self.name, len(self.files), len(self.arrows), "" if self.exact else "at most ", len(self.back),
            len(self.circles[0]))

    def wrong(self):
        """Lines that say what breaks the bounds; none if nothing does."""
        circle_max, back_max = BOUNDS.get(self.name, DEFAULT)
        large = [circle for circle in self.circles if len(circle) > circle_max]
        if not large and len(self.back) <= back_max:
            return []
        lines = ["%s (bounds: circle %d, back up %d)" % (self.figures(), circle_max, back_max)]
        lines += ["  circle of %d: %s" % (len(circle), bare(circle)) for circle in large]
        tying = set().union(*large) if large else set(self.files)
        lines += ["  tied by %s -> %s: %s" % (user, os.path.basename(owner), listed(self.arrows[user, owner]))
                  for user, owner in self.back if user in tying or len(self.back) > back_max]
        return lines + ["  remedy: " + REMEDY["circle"]]

    def show(self):
        for path in reversed(self.order):
            print(path)
            for owner in reversed(self.order):
                if (path, owner) in self.arrows:
                    mark = "^" if (path, owner) in self.back else " "
                    print("  %s %s: %s" % (mark, os.path.basename(owner), listed(self.arrows[path, owner])))
        print(self.figures())


def bare(paths):
    return " ".join(os.path.basename(path) for path in paths)


def listed(symbols):
    return ", ".join(sorted(symbols))


# ------------------------------------------------------------------------------------------------------ the verdicts --

def between_rooms(arrows):
    rank = {room: index for index, room in enumerate(ROOMS)}
    upwards = ["  %s -> %s: %s" % (*pair, listed(symbols)) for pair, symbols in sorted(arrows.items())
               if rank[room_of(pair[0])] < rank[room_of(pair[1])]]
    return ["arrows that run up between rooms: %d" % len(upwards), *upwards, "  remedy: " + REMEDY["room"]] if upwards else []


def behind_the_header(arrows, exported):
    private = ["  %s -> %s: %s" % (*pair, listed(symbols - exported)) for pair, symbols in sorted(arrows.items())
               if room_of(pair[0]) == "tools" and room_of(pair[1]) != "tools" and symbols - exported]
    if not private:
        return []
    return ["tools/ uses what the library does not export", *private, "  remedy: " + REMEDY["private"]]


def across_folders(objects, arrows):
    out = collections.defaultdict(set)
    for user, owner in arrows:
        out[user].add(owner)
    lines = []
    for circle in circles(objects.files, out):
        if len({folder_of(path) for path in circle}) > 1:
            lines.append("  circle of %d: %s" % (len(circle), " ".join(circle)))
            lines += ["  tied by %s -> %s: %s" % (*pair, listed(symbols)) for pair, symbols in sorted(arrows.items())
                      if set(pair) <= set(circle) and folder_of(pair[0]) != folder_of(pair[1])]
    return ["files of several folders stand in one circle", *lines, "  remedy: " + REMEDY["circle"]] if lines else []


def defined_twice(objects):
    twice = ["  %s: %s" % (symbol, " ".join(owners)) for symbol, owners in sorted(objects.defined.items()) if len(owners) > 1]
    return ["symbols that are defined twice: %d" % len(twice), *twice, "  remedy: " + REMEDY["twice"]] if twice else []


def too_long(root):
    lines = []
    for room in SIZED:
        for path in sorted(files_below(root, room, (".c", ".cpp", ".h", ".js", ".mjs"))):
            with open(os.path.join(root, path), "rb") as file:
                count = sum(1 for _ in file)
            if count > LINES_MAX and path not in LONG:
                lines.append("  %s: %d lines" % (path, count))
    return ["files above %d lines" % LINES_MAX, *lines, "  remedy: " + REMEDY["size"]] if lines else []


def exported_symbols(build):
    """What the linked library shows, which is what engine/ringcast*.h mark and uring/ringcast.map lets through."""
    libraries = [name for name in sorted(os.listdir(build)) if name.startswith("libringcast.so.")]
    if not libraries:
        sys.exit("FAIL structure: not built: libringcast.so")
    return {symbol.split("@")[0] for _, symbol, _ in nm(["-D", "--defined-only"], [os.path.join(build, libraries[0])])}


def main(arguments):
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    build = shown = None
    while arguments:
        argument = arguments.pop(0)
        if argument == "--show":
            shown = arguments.pop(0).rstrip("/")
        elif argument == "--root":
            root = arguments.pop(0)
        else:
            build = argument
    if not build:
        sys.exit(__doc__.splitlines()[0])
    objects = Objects(root, build)
    arrows = objects.arrows()
    folders = [Folder(name, [path for path in objects.files if folder_of(path) == name], arrows)
               for name in sorted({folder_of(path) for path in objects.files})]
    if shown:
        for folder in folders:
            if folder.name == shown:
                folder.show()
        return 0

    failed = False
    verdicts = [(folder.figures(), folder.wrong()) for folder in folders]
    verdicts += [
        ("no circle through several folders", across_folders(objects, arrows)),
        ("no arrow runs up between rooms", between_rooms(arrows)),
        ("tools/ uses what the library exports and nothing else of it", behind_the_header(arrows, exported_symbols(build))),
        ("no symbol is defined twice", defined_twice(objects)),
        ("no file is above %d lines" % LINES_MAX, too_long(root)),
    ]
    for good, wrong in verdicts:
        failed = failed or bool(wrong)
        print("FAIL structure: " + "\n".join(wrong) if wrong else "ok structure: " + good)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
