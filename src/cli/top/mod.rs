//! `annals top`: the cluster, live.

mod frame;
mod gather;
mod json;
mod terminal;

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::{self, MissedTickBehavior},
};

use self::{
    frame::{Sort, View},
    gather::{Gatherer, Sample},
    terminal::{Key, Keys, Terminal},
};
use super::{
    argument::parse_timeout,
    connect::Target,
    error::CliError,
    output::{Format, write_json},
    runtime,
    style::Style,
};

/// Watch the cluster: who leads, how many records come in, who lags behind
///
/// Of each node its own word: RECORDS/S is how fast its high watermark rises, LAG how many entries of the leader's log it does
/// not have on its disk for certain. Keys: q ends it; n, r and l sort by name, rate and lag. Where the output is no terminal, and with --once, it
/// prints one page and ends; with `-o json` a line each interval.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  annals top
  annals top --once
  annals top --once -o json | jq '.nodes[] | {node, records_per_second, lag}'")]
pub(super) struct TopArgs {
    #[command(flatten)]
    target: Target,
    /// Look so often
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_timeout)]
    interval: Duration,
    /// Print one page, or line, and end
    #[arg(long)]
    once: bool,
    /// How to print it
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

/// Runs the verb.
pub(super) fn run(args: &TopArgs) -> Result<(), CliError> {
    let gatherer = Gatherer::new(&args.target, args.interval.max(ANSWERED_WITHIN))?;
    let is_live = io::stdout().is_terminal() && io::stdin().is_terminal() && !args.once;
    match args.output {
        Format::Text if is_live => live(gatherer, args.interval),
        Format::Text => runtime::block_on(page(gatherer, args.interval)),
        Format::Json => runtime::block_on(lines(gatherer, args.interval, args.once)),
    }
}

/// A node that takes longer is shown without what only it knows.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);

/// One page. It takes an interval: a rate is a difference.
async fn page(mut gatherer: Gatherer, interval: Duration) -> Result<(), CliError> {
    let before = gatherer.sample(None).await?;
    time::sleep(interval).await;
    let sample = gatherer.sample(Some(&before)).await?;
    let view = View {
        columns: None,
        rows: None,
        sort: Sort::Name,
        style: Style::of_stdout(),
        trouble: None,
    };
    let page = frame::lines(&sample, &view).join("\n");
    writeln!(io::stdout().lock(), "{page}").map_err(CliError::from_write)
}

/// A line each interval, for programs.
async fn lines(mut gatherer: Gatherer, interval: Duration, once: bool) -> Result<(), CliError> {
    let mut last = gatherer.sample(None).await?;
    loop {
        time::sleep(interval).await;
        last = gatherer.sample(Some(&last)).await?;
        let mut out = io::stdout().lock();
        write_json(&mut out, &json::JsonSample::from(&last))
            .and_then(|()| out.flush())
            .map_err(CliError::from_write)?;
        if once {
            return Ok(());
        }
    }
}

/// What wakes the live view.
enum Event {
    Key(Option<Key>),
    Resized,
    Tick,
    End,
}

/// The live view. The terminal is as it was when this returns, and when it panics.
fn live(gatherer: Gatherer, interval: Duration) -> Result<(), CliError> {
    // The first look comes before the terminal is taken, so that its error stands where errors do.
    runtime::block_on(async move {
        let mut gatherer = gatherer;
        let first = gatherer.sample(None).await?;
        let terminal = Terminal::take().map_err(CliError::Start)?;
        let watched = watch(&terminal, gatherer, first, interval).await;
        drop(terminal);
        watched
    })
}

async fn watch(
    terminal: &Terminal,
    mut gatherer: Gatherer,
    first: Sample,
    interval: Duration,
) -> Result<(), CliError> {
    let mut keys = Keys::read();
    let mut signals = [
        SignalKind::window_change(),
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
    ]
    .map(signal);
    let [Ok(resized), Ok(terminated), Ok(interrupted), Ok(hung_up)] = &mut signals else {
        return Err(CliError::Start(io::Error::other("signals cannot be waited for")));
    };
    let mut ticks = time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    let (mut last, mut sort, mut trouble) = (first, Sort::Name, None);
    loop {
        let (columns, rows) = terminal.size();
        let view = View {
            columns: Some(columns),
            rows: Some(rows),
            sort,
            style: Style::of_stdout(),
            trouble: trouble.as_deref(),
        };
        terminal
            .draw(&frame::lines(&last, &view))
            .map_err(CliError::from_write)?;
        let event = tokio::select! {
            key = keys.next() => Event::Key(key),
            _ = resized.recv() => Event::Resized,
            _ = terminated.recv() => Event::End,
            _ = interrupted.recv() => Event::End,
            _ = hung_up.recv() => Event::End,
            _ = ticks.tick() => Event::Tick,
        };
        match event {
            Event::Key(None | Some(Key::Quit)) | Event::End => return Ok(()),
            Event::Key(Some(Key::Sort(by))) => sort = by,
            Event::Key(Some(Key::Other)) | Event::Resized => {}
            // Keys wait for a node that does not answer, for as long as it may take at most.
            Event::Tick => match gatherer.sample(Some(&last)).await {
                Ok(sample) => (last, trouble) = (sample, None),
                Err(error) => trouble = Some(error.to_string()),
            },
        }
    }
}
