"""Line charts drawn with the characters of a terminal."""

from itertools import cycle

from rft.tables import LineChart

COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")


def draw_chart(chart: LineChart, width: int, height: int = 16) -> str:
    """The chart as lines of up to `width` Unicode characters with ANSI colours; the names of its lines below it."""
    import plotext  # takes as long to load as the rest of a view: only for a picture

    figure = plotext.figure  # the library's one figure, cleared for each chart
    figure.clear()
    figure.theme("simple")
    figure.plot_size(width, height)
    figure.title(chart.title)
    names = []
    for (name, points), colour in zip(chart.lines.items(), cycle(COLOURS), strict=False):
        steps, values = zip(*points, strict=True)
        line = figure.signal(list(steps), list(values), marker=plotext.marker("braille", colour))
        line.lines()
        figure.draw(line)
        names.append(str(plotext.colorize(f"\u25a0 {name}", colour)))
    return f"{figure.build()}{'  '.join(names)}  over steps\n"
