//! `im-chat send`: every line of standard input becomes a message.

use std::collections::VecDeque;
use std::io;

use im_core::client::Receipt;
use im_transport::client::{Event, SendError, Sending};
use tokio::sync::mpsc;

use crate::args::SendOptions;
use crate::exit::{Exit, Failure};
use crate::lines::{self, Line};
use crate::output;
use crate::progress::Progress;
use crate::session::{self, Session};

/// Messages of this run without an answer, beyond which no line is read.
const UNANSWERED: usize = 4_096;

/// Sends, and waits until everything is answered.
pub(crate) async fn run(session: Session, options: SendOptions) -> Result<Exit, Failure> {
    let progress = Progress::new(session.left_over);
    let mut run = Run {
        left_over: session.left_over,
        session,
        options,
        progress,
        sendings: VecDeque::new(),
        lines: 0,
        failed: false,
    };
    let outcome = run.until_done().await;
    run.session.client.stop().await;
    outcome?;
    Ok(if run.failed { Exit::Failed } else { Exit::Done })
}

struct Run {
    session: Session,
    options: SendOptions,
    progress: Progress,
    /// Oldest first; answers are taken in this order.
    sendings: VecDeque<Sending>,
    /// Messages of an earlier run that are not answered yet.
    left_over: usize,
    lines: u64,
    failed: bool,
}

impl Run {
    async fn until_done(&mut self) -> Result<(), Failure> {
        let interrupted = session::interrupted();
        tokio::pin!(interrupted);
        // Nothing is read before the login, so that a run that cannot begin takes nothing from its input.
        while !self.session.was_logged_in() {
            tokio::select! {
                event = self.session.next() => self.on_event(event?)?,
                () = &mut interrupted => return Err(self.given_up()),
            }
        }
        let mut input = Some(lines::of_stdin());
        while input.is_some() || self.left_over > 0 || !self.sendings.is_empty() {
            let may_read = self.sendings.len() < UNANSWERED;
            tokio::select! {
                line = next_line(input.as_mut()), if input.is_some() && may_read => match line {
                    Some(line) => self.take(line.map_err(Failure::Input)?).await?,
                    None => input = None,
                },
                Some(answer) = first(&mut self.sendings) => {
                    self.sendings.pop_front();
                    self.on_answer(answer)?;
                }
                event = self.session.next() => self.on_event(event?)?,
                () = &mut interrupted => return Err(self.given_up()),
            }
        }
        Ok(())
    }

    async fn take(&mut self, line: Line) -> Result<(), Failure> {
        self.lines += 1;
        let Line::Bytes(content) = line else {
            self.failed = true;
            self.progress.complain(&format!("line {} is too long to be a message", self.lines));
            return Ok(());
        };
        let message = session::message(self.options.to.clone(), content);
        if let Ok(sending) = self.session.client.send(message).await {
            self.sendings.push_back(sending);
            self.progress.taken();
        }
        // Otherwise the client is at its end, and the next event says why.
        Ok(())
    }

    fn on_answer(&mut self, answer: Result<Receipt, SendError>) -> Result<(), Failure> {
        match answer {
            Ok(receipt) => self.on_ack(&receipt),
            // The next event says why.
            Err(SendError::Ended(_) | SendError::Gone) => Ok(()),
            Err(error) => {
                self.refused(&error);
                Ok(())
            }
        }
    }

    fn on_event(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::LoggedIn { .. } => self.progress.say(String::new()),
            Event::Offline { retry_in } => {
                self.progress.say(format!("— offline, next try in {:.1} s", retry_in.as_secs_f32()));
            }
            Event::Acked(receipt) => {
                self.left_over = self.left_over.saturating_sub(1);
                self.on_ack(&receipt)?;
            }
            Event::Rejected(rejection) => {
                self.left_over = self.left_over.saturating_sub(1);
                self.refused(&rejection);
            }
            // What others send meanwhile is for the next `recv`: it is not applied.
            _ => {}
        }
        Ok(())
    }

    fn on_ack(&self, receipt: &Receipt) -> Result<(), Failure> {
        self.progress.answered();
        if self.options.json {
            output::print(&output::ack(receipt)).map_err(Failure::Output)?;
        }
        Ok(())
    }

    fn refused(&mut self, why: &dyn std::error::Error) {
        self.failed = true;
        self.progress.answered();
        self.progress.complain(&why.to_string());
    }

    fn given_up(&self) -> Failure {
        let advice = if self.session.keeps { "; the next run with this --state sends them" } else { "" };
        Failure::Interrupted { unacked: self.sendings.len() + self.left_over, advice }
    }
}

async fn next_line(input: Option<&mut mpsc::Receiver<io::Result<Line>>>) -> Option<io::Result<Line>> {
    input?.recv().await
}

/// The answer to the oldest message; `None` if there is none.
async fn first(sendings: &mut VecDeque<Sending>) -> Option<Result<Receipt, SendError>> {
    Some(sendings.front_mut()?.await)
}
