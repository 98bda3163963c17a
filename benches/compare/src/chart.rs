//! Draws bars with whiskers as SVG. The same figures give the same bytes.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 330.0;
const RIGHT: f64 = 70.0;
const ROW: f64 = 26.0;
/// Told apart in grey too, and by those who see red and green alike (Okabe and Ito).
const COLOURS: [&str; 2] = ["#999999", "#0072b2"];

pub(crate) struct Bar {
    pub(crate) colour: usize,
    pub(crate) label: String,
    pub(crate) largest: f64,
    pub(crate) median: f64,
    pub(crate) smallest: f64,
}

fn begin(title: &str, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<title>{0}</title>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"12\" y=\"24\" font-size=\"15\" font-weight=\"bold\">{0}</text>\n",
        escaped(title)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Bars with their ranges. `mark` is a line across all of them: the yardstick's.
pub(crate) fn bars(title: &str, bars: &[Bar], mark: Option<f64>, digits: usize) -> String {
    let most = bars.iter().map(|bar| bar.largest).fold(mark.unwrap_or(0.0), f64::max).max(f64::MIN_POSITIVE);
    let x = |value: f64| LEFT + value / most * (WIDTH - LEFT - RIGHT);
    let height = 44.0 + ROW * bars.len() as f64 + 12.0;
    let mut svg = begin(title, height);
    for (row, bar) in bars.iter().enumerate() {
        let top = 40.0 + ROW * row as f64;
        let middle = top + ROW / 2.0;
        let colour = COLOURS[bar.colour % COLOURS.len()];
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>\n\
             <path d=\"M{:.1} {middle:.1}H{:.1}\" stroke=\"#000000\" stroke-width=\"1.2\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\">{:.digits$}</text>",
            LEFT - 8.0,
            middle + 4.5,
            escaped(&bar.label),
            top + 4.0,
            x(bar.median) - LEFT,
            ROW - 8.0,
            x(bar.smallest),
            x(bar.largest),
            x(bar.largest) + 6.0,
            middle + 4.5,
            bar.median,
        );
    }
    if let Some(mark) = mark {
        let _ = writeln!(
            svg,
            "<path d=\"M{0:.1} 36V{1:.1}\" stroke=\"#000000\" stroke-dasharray=\"4 3\"/>",
            x(mark),
            height - 8.0
        );
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_shows_each_bar_and_is_the_same_each_time() {
        let bar = |label: &str, median| Bar {
            colour: 1,
            label: label.to_owned(),
            largest: median * 1.2,
            median,
            smallest: median * 0.9,
        };
        let chart = bars("a < b", &[bar("nginx", 1.0), bar("sidebeat & more", 1.25)], Some(1.0), 2);
        assert!(chart.contains("<title>a &lt; b</title>") && chart.contains(">sidebeat &amp; more</text>"), "{chart}");
        assert!(chart.contains(">1.25</text>") && chart.ends_with("</svg>\n"), "{chart}");
        assert_eq!(chart.matches("<rect").count(), 3, "two bars on their ground");
        assert_eq!(chart, bars("a < b", &[bar("nginx", 1.0), bar("sidebeat & more", 1.25)], Some(1.0), 2));
    }
}
