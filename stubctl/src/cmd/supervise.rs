// SPDX-License-Identifier: GPL-3.0-only
//! `stubctl daemon` looks after all pairs, `stubctl run` creates one and looks after that.

use std::sync::Arc;
use std::time::Duration;

use libstub::{
    Code, End, Happening, Host, HostError, Journal, Name, Report, RestartLimit, ShutdownReason, Supervisor,
    SupervisorOptions, XenHost,
};
use sd_notify::NotifyState;

use super::create::Config;
use crate::output::{self, note, say};
use crate::report::Failure;
use crate::run::Loop;
use crate::schema::Ran;

/// How to look after pairs.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Limits {
    /// Give a pair up that was restarted this often...
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    restarts: usize,
    /// ...within this time
    #[arg(long, value_name = "SECONDS", value_parser = crate::seconds, default_value = "600")]
    within: Duration,
    /// Ask each QEMU this often whether it is there
    #[arg(long, value_name = "SECONDS", value_parser = crate::seconds, default_value = "30")]
    ask_every: Duration,
    /// Take a QEMU for dead that does not answer within this time
    #[arg(long, value_name = "SECONDS", value_parser = crate::seconds, default_value = "30")]
    ask_limit: Duration,
}

impl Limits {
    fn options(&self, only: Option<Name>) -> SupervisorOptions {
        SupervisorOptions {
            only,
            restarts: RestartLimit { count: self.restarts, within: self.within },
            ask_every: self.ask_every,
            ask_limit: self.ask_limit,
            ..SupervisorOptions::default()
        }
    }
}

/// What to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    limits: Limits,
}

fn open() -> Result<Box<dyn Host>, HostError> {
    Ok(Box::new(XenHost::open()?))
}

/// Runs until a signal; what happens is in the log, pair by pair.
pub(crate) fn daemon(journal: Journal, limits: &Limits) -> Result<(), Failure> {
    let mut event_loop = Loop::new().map_err(|error| Failure::internal(&error))?;
    let mut supervisor = Supervisor::start(Arc::new(open), journal, limits.options(None))?;
    // Where systemd did not start it, nobody listens.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    note("pairs are looked after");
    match event_loop.supervise(&mut supervisor, |_| false) {
        // What was under way is the next one's.
        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
        ended => drop(ended.map_err(|error| Failure::internal(&error))?),
    }
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    let pairs = supervisor.pairs();
    drop(supervisor);
    note(format_args!("nobody looks after pairs any more; {pairs} live on"));
    Ok(())
}

/// Creates a pair and looks after it until it is gone, or left as it is.
pub(crate) fn run(journal: Journal, run: &Run, as_json: bool) -> Result<(), Failure> {
    let config = run.config.read()?;
    let name = config.name.clone();
    let mut event_loop = Loop::new().map_err(|error| Failure::internal(&error))?;
    let options = run.limits.options(Some(name.clone()));
    let mut supervisor = Supervisor::start(Arc::new(open), journal.clone(), options)?;
    let operation = supervisor.create(config)?;
    let pair =
        event_loop.run(operation, |_| {}).map_err(|error| Failure::interrupted(&error, Some(&name)))??;
    if !as_json {
        say(format_args!("{} runs: guest {}, stubdom {}", pair.name, pair.guest, pair.stubdom));
    }
    let mut course = Course::default();
    let tell = |report: Report| {
        if !as_json && report.what != Happening::Supervised {
            say(&report);
        }
        course.take(report)
    };
    let signalled = event_loop
        .supervise(&mut supervisor, tell)
        .map_err(|error| Failure::interrupted(&error, Some(&name)))?;
    if signalled && course.outcome.is_none() {
        drop(supervisor);
        end(&mut event_loop, journal, &name)?;
        course.outcome = Some(Outcome::Stopped);
    }
    let outcome = course.outcome.unwrap_or(Outcome::Stopped);
    if let Some((end, code)) = course.fault().filter(|_| outcome != Outcome::Stopped) {
        return Err(Failure::ended(&name, end, code));
    }
    if as_json {
        output::json(&Ran::new(&pair, outcome.as_str(), course.end.as_ref(), course.restarts));
    } else if outcome == Outcome::Stopped {
        say(format_args!("{name} is gone"));
    }
    Ok(())
}

/// What was run in the foreground ends with it.
fn end(event_loop: &mut Loop, journal: Journal, name: &Name) -> Result<(), Failure> {
    let operation =
        libstub::destroy(open()?, journal, name.clone()).map_err(|error| Failure::internal(&error))?;
    let gone = event_loop.run(operation, |_| {}).map_err(|error| Failure::interrupted(&error, Some(name)))?;
    match gone {
        // Somebody was faster.
        Err(libstub::DestroyError::NoSuchPair(_)) | Ok(_) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What became of a pair so far.
#[derive(Debug, Default)]
struct Course {
    end: Option<End>,
    restarts: usize,
    given_up: bool,
    outcome: Option<Outcome>,
}

/// How a run can be over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Removed,
    Kept,
    Forgotten,
    Stopped,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Kept => "kept",
            Self::Forgotten => "ended-by-another",
            Self::Stopped => "stopped",
        }
    }
}

impl Course {
    /// Whether nothing is left to be done.
    fn take(&mut self, report: Report) -> bool {
        match report.what {
            Happening::Ended(end) => self.end = Some(end),
            Happening::Restarted(_) => self.restarts += 1,
            Happening::GivenUp { .. } => self.given_up = true,
            Happening::Removed => self.outcome = Some(Outcome::Removed),
            Happening::Kept => self.outcome = Some(Outcome::Kept),
            Happening::Forgotten => self.outcome = Some(Outcome::Forgotten),
            _ => {}
        }
        self.outcome.is_some()
    }

    /// What was wrong with its end, if anything was.
    fn fault(&self) -> Option<(&End, Code)> {
        let end = self.end.as_ref()?;
        let code = match end {
            _ if self.given_up => Code::GuestCrashed,
            End::Guest(ShutdownReason::Crash | ShutdownReason::Watchdog | ShutdownReason::Unknown(_)) => {
                Code::GuestCrashed
            }
            End::StubdomDied { .. } => Code::StubdomDied,
            End::QemuSilent { .. } => Code::QmpFailed,
            End::Guest(_) | End::GuestDestroyed | End::Unfinished => return None,
        };
        Some((end, code))
    }
}
