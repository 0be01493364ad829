"""Table and plot of `lfm2 bench -o json` (or `llama-bench -o json`): tokens a second by length.

    lfm2 bench -p 64,128,256,512 -n 0 -o json > prefill.json
    lfm2 bench -p 0 -n 16 -d 0,256,512,1024 -o json > decode.json
    python3 tools/plot_bench.py prefill.json decode.json --svg plot.svg
    python3 tools/plot_bench.py measure.json      the result of tools/measure_gpu.sh: a table for each step

The table goes to stdout as Markdown, or with `--into FILE.md` between that file's lines `<!-- bench -->` and
`<!-- /bench -->`. `--check` writes nothing, and fails if a file differs from the output. A test's length is the
number of tokens at its end, including the tokens before the test.
Results of several programs, models or adapters are columns of one table and lines of one plot.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

# Okabe and Ito's colours, which people with any colour vision can distinguish.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]
BEGIN, END = "<!-- bench -->", "<!-- /bench -->"


@dataclass
class Test:
    """One line of results."""

    kind: str  # pp512, tg128
    depth: int
    length: int
    speed: float
    spread: float

    @property
    def name(self) -> str:
        return f"{self.kind} @ d{self.depth}" if self.depth else self.kind

    @property
    def prefill(self) -> bool:
        return "pp" in self.kind


@dataclass
class Series:
    """One program with one model on one adapter."""

    label: str
    adapter: str
    details: str
    tests: list[Test] = field(default_factory=list)


def series_of(rows: list[dict]) -> list[Series]:
    found: dict[str, Series] = {}
    for row in rows:
        n_prompt, n_gen, depth = (int(row.get(k) or 0) for k in ("n_prompt", "n_gen", "n_depth"))
        if n_prompt and n_gen:
            continue  # llama-bench's -pg mixes both
        # llama-bench reports a build number, lfm2 a version.
        program = "llama.cpp" if "build_number" in row else "lfm2-wgpu"
        adapter = row.get("gpu_info") or row.get("cpu_info") or "?"
        adapter += f", {row.get('backends', '?')}"
        label = f"{program} {row.get('build_commit', '')}, {row.get('model_type', '?')}"
        details = f"driver {row['driver']}, " if row.get("driver") else ""
        details += f"weights {int(row.get('model_size') or 0) / 1e9:.2f} GB"
        series = found.setdefault(f"{label} {adapter}", Series(label, adapter, details))
        kind = f"tg{n_gen}" if n_gen else f"pp{n_prompt}"
        if int(row.get("n_parallel") or 1) > 1:
            kind = f"{row['n_parallel']} x {kind}"
        if row.get("sampling", "greedy") != "greedy":
            kind = f"{kind}, {row['sampling']}"
        length = depth + n_prompt + n_gen
        speed, spread = float(row["avg_ts"]), float(row.get("stddev_ts") or 0)
        series.tests.append(Test(kind, depth, length, speed, spread))
    for series in found.values():
        series.tests.sort(key=lambda t: (not t.prefill, t.length))
    return list(found.values())


def table(all_series: list[Series]) -> str:
    def cell(text: str) -> str:
        return text.replace("|", "\\|")

    names: dict[str, Test] = {}
    for series in all_series:
        for test in series.tests:
            names.setdefault(test.name, test)
    order = sorted(names.values(), key=lambda t: (not t.prefill, t.length))
    lines = ["| test | length | " + " | ".join(f"{cell(s.label)}, t/s" for s in all_series) + " |"]
    lines.append("|---|---:|" + "---:|" * len(all_series))
    for test in order:
        cells = []
        for series in all_series:
            same = [t for t in series.tests if t.name == test.name]
            cells.append(", ".join(f"{t.speed:.2f} ± {t.spread:.2f}" for t in same))
        lines.append(f"| {test.name} | {test.length} | " + " | ".join(cells) + " |")
    lines.append("")
    lines += [f"{s.label}: {s.adapter}, {s.details}." for s in all_series]
    return "\n".join(lines) + "\n"


def cells(*values: object) -> str:
    return "| " + " | ".join(str(v) for v in values) + " |"


def figure(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def bench_lines(rows: list[dict]) -> list[str]:
    """Every test of a step, with what a token costs."""
    lines = [cells("test", "t/s", "CPU us a token", "GPU ms a token", "dispatches a token", "GB/s", "experts a layer")]
    lines.append("|---|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        name = row.get("test") or (f"tg{row['n_gen']}" if row.get("n_gen") else f"pp{row.get('n_prompt')}")
        speed = f"{float(row['avg_ts']):.1f} ± {float(row.get('stddev_ts') or 0):.1f}"
        costs = [(row.get("cpu_us_per_token"), 0), (row.get("gpu_ms_per_token"), 3), (row.get("dispatches_per_token"), 1)]
        costs += [(row.get("gb_per_second"), 0), (row.get("distinct_experts"), 1)]
        lines.append(cells(name, speed, *(figure(value, digits) for value, digits in costs)))
    return lines


def profile_lines(profiles: list[dict]) -> list[str]:
    lines: list[str] = []
    for profile in profiles:
        calls = sum(kernel["calls"] for kernel in profile["kernels"])
        lines += [
            f"{profile['rows']} rows after {profile['n_depth']} tokens: {profile['whole_ms']:.3f} ms in one pass, {calls} dispatches",
            "",
            cells("kernel", "calls", "us a call", "GB/s"),
            "|---|---:|---:|---:|",
        ]
        for kernel in profile["kernels"]:
            each = 1e3 * kernel["ms"] / kernel["calls"]
            speed = kernel["weight_bytes"] / kernel["ms"] / 1e6 if kernel["ms"] and kernel["weight_bytes"] else None
            lines.append(cells(kernel["kernel"], kernel["calls"], f"{each:.2f}", figure(speed, 0)))
        lines.append("")
    return lines


def kernel_lines(results: list[dict]) -> list[str]:
    """criterion's medians."""
    lines = [cells("kernel", "us", "GB/s", "G operations/s"), "|---|---:|---:|---:|"]
    for result in results:
        benchmark, nanoseconds = result["benchmark"], result["estimates"]["median"]["point_estimate"]
        throughput = benchmark.get("throughput") or {}
        both = throughput.get("ElementsAndBytes") or {}
        bytes_ = both.get("bytes") or throughput.get("BytesDecimal")
        per_second = [n / nanoseconds if n else None for n in (bytes_, both.get("elements"))]
        name = f"{benchmark['group_id']} {benchmark.get('function_id') or ''}".replace("|", "\\|")
        lines.append(cells(name, f"{nanoseconds / 1e3:.1f}", *(figure(speed, 0) for speed in per_second)))
    return lines


def launch_lines(result: dict) -> list[str]:
    lines = [cells("dispatches of one pass", "us each", "CPU us each"), "|---|---:|---:|"]
    for kind in ("dependent", "independent"):
        for row in result[kind]:
            lines.append(cells(f"{kind}, {row['workgroups']} workgroups", f"{row['us']:.3f}", f"{row['host_us']:.3f}"))
    lines.append(cells("submit one, read 16 bytes back", f"{result['round_trip_us']:.1f}", ""))
    lines += ["", cells("a dispatch reads", "us", "GB/s"), "|---|---:|---:|"]
    for row in filter(None, result["reads"]):
        lines.append(cells(f"{row['mib']} MiB", f"{row['us']:.2f}", f"{row['gb_per_second']:.0f}"))
    return lines


def step_lines(step: dict) -> list[str]:
    result = step["result"]
    if result is None:
        return [f"Failed with code {step['code']}."]
    if step["name"] == "launch":
        return launch_lines(result)
    if step["name"] == "selftest":
        failed = [check["kernel"] for check in result["checks"] if not check["passed"]]
        return [f"{len(result['checks'])} checks, {result['failed']} failed{': ' if failed else ''}{', '.join(failed)}."]
    if isinstance(result, dict):
        return [", ".join(f"{name} {value}" for name, value in result.items()) + "."]
    if result and "kernels" in result[0]:
        return profile_lines(result)
    if result and "benchmark" in result[0]:
        return kernel_lines(result)
    return bench_lines(result)


def measured(result: dict) -> str:
    """Tables of all steps of tools/measure_gpu.sh."""
    adapters = (result["info"] or {}).get("adapters", [])
    chosen = next((a for a in adapters if a.get("index") == result["info"].get("chosen")), {})
    lines = [f"{chosen.get('name', '?')}, driver {chosen.get('driver', '?')}; {result['date']}, commit {result['commit'] or '?'}."]
    for step in result["steps"]:
        lines += ["", f"#### {step['name']}, {step['seconds']} s", "", f"    {step['command']}", ""] + step_lines(step)
    return "\n".join(lines).rstrip() + "\n"


def nice_top(value: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= value * 0.999)


class Panel:
    """One pair of axes: length along, tokens a second up."""

    WIDTH, HEIGHT = 320, 220

    def __init__(self, left: int, top: int, title: str, tests: list[Test]) -> None:
        self.left, self.top, self.title = left, top, title
        self.ticks = sorted({t.length for t in tests})
        self.max = nice_top(max(t.speed + t.spread for t in tests))
        self.log = self.ticks[0] > 0 and self.ticks[-1] > 4 * self.ticks[0]

    def x(self, length: int) -> float:
        scale = math.log2 if self.log else float
        low, high = scale(self.ticks[0]), scale(self.ticks[-1])
        share = 0.5 if high == low else 0.04 + 0.92 * (scale(length) - low) / (high - low)
        return self.left + share * self.WIDTH

    def y(self, speed: float) -> float:
        return self.top + self.HEIGHT * (1 - max(0.0, speed) / self.max)

    def frame(self) -> list[str]:
        bottom, right = self.top + self.HEIGHT, self.left + self.WIDTH
        out = [text(self.left, self.top - 12, self.title, "start", bold=True)]
        for i in range(6):
            value = self.max * i / 5
            y = self.y(value)
            out.append(f'<line x1="{self.left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#ddd"/>')
            out.append(text(self.left - 6, y + 4, f"{value:g}", "end"))
        taken = -math.inf
        for tick in self.ticks:
            x = self.x(tick)
            out.append(f'<line x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 4}" stroke="#333"/>')
            # A label that would touch the previous one is left out.
            if x - taken > 8 * len(str(tick)):
                out.append(text(x, bottom + 18, str(tick), "middle"))
                taken = x
        out.append(f'<line x1="{self.left}" y1="{bottom}" x2="{right}" y2="{bottom}" stroke="#333"/>')
        out.append(text((self.left + right) / 2, bottom + 36, "length, tokens", "middle"))
        return out

    def draw(self, tests: list[Test], colour: str) -> list[str]:
        out = []
        # A line joins prompts of several lengths, or one test at several depths.
        lines = [[t for t in tests if t.kind == kind] for kind in sorted({t.kind for t in tests})]
        lines.append([t for t in tests if t.prefill and not t.depth])
        for line in lines:
            points = " ".join(f"{self.x(t.length):.1f},{self.y(t.speed):.1f}" for t in line)
            if len(line) > 1:
                out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for t in tests:
            x, low, high = self.x(t.length), self.y(t.speed - t.spread), self.y(t.speed + t.spread)
            out.append(f'<line x1="{x:.1f}" y1="{low:.1f}" x2="{x:.1f}" y2="{high:.1f}" stroke="{colour}"/>')
            label = escape(f"{t.name}: {t.speed:.2f} ± {t.spread:.2f} t/s")
            out.append(f'<circle cx="{x:.1f}" cy="{self.y(t.speed):.1f}" r="3.5" fill="{colour}"><title>{label}</title></circle>')
        return out


def text(x: float, y: float, content: str, anchor: str, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight}>{escape(content)}</text>'


def plot(all_series: list[Series]) -> str:
    tests = [t for s in all_series for t in s.tests]
    kinds = [("Prefill, tokens/s", True), ("Decode, tokens/s", False)]
    kinds = [(title, p) for title, p in kinds if any(t.prefill == p for t in tests)]
    width, height = 60 + 400 * len(kinds) - 20, 330 + 20 * len(all_series)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" font-family="sans-serif" font-size="12" fill="#333">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for i, (title, prefill) in enumerate(kinds):
        panel = Panel(60 + 400 * i, 40, title, [t for t in tests if t.prefill == prefill])
        out += panel.frame()
        for series, colour in zip(all_series, COLOURS * len(all_series)):
            own = [t for t in series.tests if t.prefill == prefill]
            out += panel.draw(own, colour)
    for i, (series, colour) in enumerate(zip(all_series, COLOURS * len(all_series))):
        y = 324 + 20 * i
        out.append(f'<line x1="60" y1="{y}" x2="84" y2="{y}" stroke="{colour}" stroke-width="2"/>')
        out.append(text(90, y + 4, f"{series.label}: {series.adapter}", "start"))
    return "\n".join([*out, "</svg>"]) + "\n"


def put_into(document: str, content: str, name: Path) -> str:
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{name}: needs a line {BEGIN} and, below, a line {END}")
    return f"{before}{BEGIN}\n{content}{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+", help="JSON files of bench")
    parser.add_argument("--svg", type=Path, help="write the plot to this file")
    parser.add_argument("--into", type=Path, help="write the table into this Markdown file")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    args = parser.parse_args()

    rows, tables = [], ""
    for file in args.results:
        result = json.loads(file.read_text("utf-8"))
        if isinstance(result, dict):
            tables += measured(result)
            # Tests by length and depth; llama-bench's beside them.
            kept = [step["result"] or [] for step in result["steps"] if step["name"] in ("lengths", "depths", "llama")]
            rows += [row for step in kept for row in step]
        else:
            rows += result
    all_series = series_of(rows)
    if not all_series and not tables:
        sys.exit(f"{args.results[0]}: no results of prefill or decode")
    tables = tables or table(all_series)
    files = []
    if args.svg and all_series:
        files.append((args.svg, plot(all_series)))
    if args.into:
        files.append((args.into, put_into(args.into.read_text("utf-8"), tables, args.into)))
    else:
        print(tables, end="")
    for path, content in files:
        if not args.check:
            path.write_text(content, "utf-8")
        elif not path.exists() or path.read_text("utf-8") != content:
            sys.exit(f"{path}: is not what {args.results[0]} gives; run this again without --check")


if __name__ == "__main__":
    main()
