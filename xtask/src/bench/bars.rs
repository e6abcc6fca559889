// SPDX-License-Identifier: GPL-3.0-only
//! The bars of a report as one drawing.

use serde_json::Value;
use svg::Document;
use svg::node::element::{Rectangle, Style, Text};

/// In pixels; the drawing scales.
const WIDTH: f64 = 1000.0;
const NAMES: f64 = 300.0;
const ROW: f64 = 24.0;
const BAR: f64 = 16.0;
/// Room for the value behind the longest bar.
const VALUE: f64 = 80.0;

const STYLE: &str = "text { font: 12px sans-serif; fill: #222 } .title { font-size: 14px; font-weight: bold } \
    .ours { fill: #e08214 } .theirs { fill: #4878a8 }";

/// The drawing as SVG; none if there is nothing to draw.
pub(super) fn draw(report: &Value) -> Option<String> {
    let groups = report["bars"].as_array().filter(|groups| !groups.is_empty())?;
    let mut drawing = Document::new().add(Style::new(STYLE));
    let mut y = 0.0;
    let text = |x: f64, y: f64, class: &str, what: &str| {
        Text::new(what).set("x", x).set("y", y + BAR - 3.0).set("class", class)
    };
    for group in groups {
        let bars: Vec<(&str, f64)> = group["bars"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|bar| Some((bar[0].as_str()?, bar[1].as_f64()?)))
            .collect();
        let longest = bars.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
        drawing = drawing.add(text(0.0, y, "title", group["title"].as_str().unwrap_or_default()));
        y += ROW;
        for (index, (name, value)) in bars.into_iter().enumerate() {
            let width = value / longest * (WIDTH - NAMES - VALUE);
            let bar = Rectangle::new().set("x", NAMES).set("y", y).set("width", width).set("height", BAR);
            drawing = drawing
                .add(text(8.0, y, "name", name))
                .add(bar.set("class", if index == 0 { "ours" } else { "theirs" }))
                .add(text(NAMES + width + 6.0, y, "value", &format!("{value:.2}")));
            y += ROW;
        }
        y += ROW / 2.0;
    }
    Some(drawing.set("viewBox", (0, 0, WIDTH, y)).to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_longest_bar_takes_all_the_room_and_the_others_their_share() {
        let report = json!({ "bars": [{ "title": "Times", "bars": [["ours", 1.0], ["theirs", 4.0]] }] });
        let drawing = draw(&report).unwrap();
        assert_eq!(drawing.matches("<rect").count(), 2);
        assert!(drawing.contains("width=\"620\"") && drawing.contains("width=\"155\""), "{drawing}");
    }

    #[test]
    fn without_bars_there_is_no_drawing() {
        assert_eq!(draw(&json!({ "bars": [] })), None);
    }
}
