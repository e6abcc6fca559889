// SPDX-License-Identifier: GPL-3.0-only
//! What is found of a pair whose create failed, before it is undone. All of it explains; none of it may fail.

use super::{Creation, Ids};
use crate::console::{self, escaped};
use crate::lifecycle::create::Findings;
use crate::lifecycle::observe::{self, Life, Observation};
use crate::xenbus::{self, VbdMark};

/// More than any complaint of a driver needs.
const MAX_COMPLAINT: usize = 256;

impl Creation {
    /// Looks at what is left of the pair; what nobody can tell any more is not told.
    pub(super) fn findings(&self) -> Findings {
        let mut findings = Findings { console: self.last_words(), ..Findings::default() };
        let Ok(Ids { guest, stubdom }) = self.created() else { return findings };
        let host = self.host.as_ref();
        if let Ok(Observation { stubdom: life, qemu_exit, .. }) =
            observe::observe(host, (guest.0, &guest.1), (stubdom.0, &stubdom.1))
        {
            findings.qemu_exit = qemu_exit;
            findings.shutdown = match life {
                Life::Shutdown(reason) => Some(reason),
                Life::Alive | Life::Gone => None,
            };
        }
        let vbds = self.record.iter().flat_map(|record| &record.vbds);
        findings.unconnected = vbds.filter_map(|vbd| self.unconnected(*vbd)).collect();
        findings
    }

    /// The state of a device whose ends have not met. The guest has never run: that its end waits is no finding.
    fn unconnected(&self, vbd: VbdMark) -> Option<String> {
        let (Some(front), Some(back)) = (self.state(&vbd.frontend()), self.state(&vbd.backend())) else {
            return None;
        };
        let (guest, _) = self.domids();
        let told_nothing = if guest == Some(vbd.domid) {
            ["initialising", "waiting for its frontend"].contains(&back)
        } else {
            (front, back) == ("connected", "connected")
        };
        let complaints = [vbd.frontend_error(), vbd.backend_error()].map(|path| self.complaint(&path));
        let complaints: String = complaints.into_iter().flatten().map(|text| format!("; {text}")).collect();
        (!told_nothing || !complaints.is_empty()).then(|| {
            format!("vbd {} of domain {}: frontend {front}, backend {back}{complaints}", vbd.devid, vbd.domid)
        })
    }

    fn state(&self, end: &str) -> Option<&'static str> {
        let state = self.host.read(&format!("{end}/state")).ok()?;
        Some(state.map_or("gone", |state| xenbus::state_in_words(&state)))
    }

    fn complaint(&self, path: &str) -> Option<String> {
        let text = self.host.read(path).ok()??;
        Some(escaped(&text[..text.len().min(MAX_COMPLAINT)]))
    }

    /// How much the stubdomain has written to its console.
    pub(super) fn console_index(&self) -> Option<u32> {
        console::written(&self.console_page()?)
    }

    fn last_words(&self) -> Vec<String> {
        self.console_page().map(|page| console::last_lines(&page)).unwrap_or_default()
    }

    fn console_page(&self) -> Option<Vec<u8>> {
        let (domid, gfn) = self.console?;
        self.host.copy_page(domid, gfn).ok()
    }
}
