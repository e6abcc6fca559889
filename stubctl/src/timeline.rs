// SPDX-License-Identifier: GPL-3.0-only
//! A create drawn: what dom0 and the stubdomain did, each in a lane of its own, over one axis of time.

use libstub::{Event, Milestone, Name, Stage};
use svg::Document;
use svg::node::element::{Group, Line, Rectangle, Style, Text, Title};

/// In pixels; the drawing scales.
const WIDTH: f64 = 1000.0;
const MARGIN: f64 = 90.0;
const TOP: f64 = 50.0;
const ROW: f64 = 24.0;
const BAR: f64 = 16.0;

const STYLE: &str = "text { font: 12px sans-serif; fill: #222 } .title { font-size: 15px } \
    .dom0 { fill: #4878a8 } .stubdom { fill: #e08214 } .grid { stroke: #ddd } .time { fill: #777 }";

/// Something that took a while.
#[derive(Debug, Clone, PartialEq)]
struct Span {
    lane: Lane,
    what: &'static str,
    from: f64,
    to: f64,
}

/// Who was busy with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Dom0,
    Stubdom,
}

impl Lane {
    fn class(self) -> &'static str {
        match self {
            Self::Dom0 => "dom0",
            Self::Stubdom => "stubdom",
        }
    }
}

/// What ended with a milestone, and whose work it was; nothing if it only marks a moment.
fn ended(milestone: Milestone) -> Option<(Lane, &'static str)> {
    let dom0 = |what| Some((Lane::Dom0, what));
    let stubdom = |what| Some((Lane::Stubdom, what));
    match milestone {
        Milestone::Reaped => dom0("remains of an earlier pair"),
        Milestone::Checked => dom0("checks"),
        Milestone::ShellsCreated { .. } => dom0("empty domains"),
        Milestone::StubdomBuilt => dom0("stubdom and its rootfs"),
        Milestone::StubdomUnpaused => dom0("unpause of the stubdom"),
        Milestone::GuestBuilt => dom0("guest's memory and firmware"),
        Milestone::QemuReleased => dom0("disks and QEMU's arguments"),
        Milestone::GuestUnpaused => dom0("unpause of the guest"),
        Milestone::Stubdom(Stage::Booted) => stubdom("kernel"),
        Milestone::Stubdom(Stage::Waiting) => stubdom("rootfs mounted"),
        Milestone::Stubdom(Stage::Devices) => stubdom("wait for dom0, devices"),
        Milestone::Stubdom(Stage::QemuStarted) => stubdom("QEMU confined"),
        Milestone::ReadySeen => stubdom("QEMU's start"),
        Milestone::Stubdom(Stage::Ready) => None,
    }
}

/// What each took: from the milestone before it in its lane; the stubdomain's lane begins when it is unpaused.
fn spans(events: &[Event]) -> Vec<Span> {
    let (mut dom0, mut stubdom) = (0.0, 0.0);
    let mut spans = Vec::new();
    for event in events {
        let to = event.at.as_secs_f64();
        if let Some((lane, what)) = ended(event.milestone) {
            let from = match (lane, event.milestone) {
                (Lane::Stubdom, _) => std::mem::replace(&mut stubdom, to),
                // Between the release of QEMU and its readiness dom0 only waits.
                (Lane::Dom0, Milestone::GuestUnpaused) => stubdom.max(dom0),
                (Lane::Dom0, _) => std::mem::replace(&mut dom0, to),
            };
            spans.push(Span { lane, what, from, to });
        }
        if event.milestone == Milestone::StubdomUnpaused {
            stubdom = to;
        }
    }
    spans
}

/// A round number of seconds, so that an axis of this length has at most ten steps.
fn step(length: f64) -> f64 {
    let steps = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0];
    steps.into_iter().find(|step| length / step <= 10.0).unwrap_or(length / 10.0)
}

/// The drawing, as SVG.
pub(crate) fn draw(name: &Name, events: &[Event]) -> String {
    let spans = spans(events);
    let end = events.last().map_or(0.0, |event| event.at.as_secs_f64());
    let axis = end.max(0.01);
    let height = TOP + ROW * spans.iter().fold(1.0, |rows, _| rows + 1.0);
    let x = |seconds: f64| MARGIN + seconds / axis * (WIDTH - 3.0 * MARGIN);
    let text = |x: f64, y: f64, class: &str, what: String| {
        Text::new(what).set("x", round(x)).set("y", round(y)).set("class", class)
    };
    let mut drawing = Document::new()
        .set("viewBox", (0, 0, WIDTH, round(height)))
        .add(Title::new(format!("create of {name}")))
        .add(Style::new(STYLE))
        .add(text(MARGIN, 20.0, "title", format!("create of {name}: {end:.2} s")));
    let mut at = 0.0;
    while at <= axis {
        let grid = Line::new().set("x1", round(x(at))).set("x2", round(x(at))).set("class", "grid");
        drawing = drawing.add(grid.set("y1", TOP - 10.0).set("y2", round(height))).add(text(
            x(at) + 2.0,
            TOP - 12.0,
            "time",
            format!("{at:.2} s"),
        ));
        at += step(axis);
    }
    let mut y = TOP;
    for Span { lane, what, from, to } in spans {
        let bar = Rectangle::new()
            .set("x", round(x(from)))
            .set("y", round(y))
            .set("width", round((x(to) - x(from)).max(1.0)))
            .set("height", BAR)
            .set("class", lane.class());
        let row = Group::new().add(text(4.0, y + 13.0, "lane", lane.class().to_owned())).add(bar).add(text(
            x(to) + 6.0,
            y + 13.0,
            "what",
            format!("{what}, {:.0} ms", (to - from) * 1000.0),
        ));
        drawing = drawing.add(row);
        y += ROW;
    }
    drawing.to_string()
}

/// To a tenth of a pixel.
fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn events() -> Vec<Event> {
        let shells =
            Milestone::ShellsCreated { guest: libstub::DomId::new(1), stubdom: libstub::DomId::new(2) };
        [
            (Milestone::Checked, 10),
            (shells, 30),
            (Milestone::StubdomBuilt, 100),
            (Milestone::StubdomUnpaused, 110),
            (Milestone::GuestBuilt, 200),
            (Milestone::Stubdom(Stage::Booted), 250),
            (Milestone::QemuReleased, 260),
            (Milestone::Stubdom(Stage::Waiting), 300),
            (Milestone::ReadySeen, 900),
            (Milestone::GuestUnpaused, 910),
        ]
        .map(|(milestone, ms)| Event { milestone, at: Duration::from_millis(ms) })
        .into()
    }

    #[test]
    fn each_lane_goes_on_where_it_was() {
        let spans: Vec<String> = spans(&events())
            .iter()
            .map(|Span { lane, what, from, to }| format!("{} {what} {from:.2}-{to:.2}", lane.class()))
            .collect();
        let expected = [
            "dom0 checks 0.00-0.01",
            "dom0 empty domains 0.01-0.03",
            "dom0 stubdom and its rootfs 0.03-0.10",
            "dom0 unpause of the stubdom 0.10-0.11",
            "dom0 guest's memory and firmware 0.11-0.20",
            "stubdom kernel 0.11-0.25",
            "dom0 disks and QEMU's arguments 0.20-0.26",
            "stubdom rootfs mounted 0.25-0.30",
            "stubdom QEMU's start 0.30-0.90",
            "dom0 unpause of the guest 0.90-0.91",
        ];
        assert_eq!(spans, expected);
    }

    #[test]
    fn the_drawing_has_a_bar_for_each_and_nothing_outside() {
        let drawing = draw(&Name::new("a-guest").unwrap(), &events());
        assert!(drawing.starts_with("<svg") && drawing.contains("create of a-guest: 0.91 s"), "{drawing}");
        assert_eq!(drawing.matches("<rect").count(), spans(&events()).len());
        assert!(!drawing.contains("NaN") && !drawing.contains("=\"-"), "{drawing}");
    }

    #[test]
    fn a_create_that_never_began_is_an_empty_drawing() {
        assert!(!draw(&Name::new("none").unwrap(), &[]).contains("<rect"));
    }

    #[test]
    fn an_axis_has_few_round_steps() {
        assert_eq!([step(0.05), step(0.9), step(3.0), step(700.0)], [0.01, 0.1, 0.5, 70.0]);
    }
}
