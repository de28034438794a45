//! `im-chat` without a command: a person types and reads.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};

use im_core::client::{EarlierPlace, LocalEntry, RoomAction, RoomEvent, Saying};
use im_core::id::{ClientMsgId, RoomId, Uid, Version};
use im_core::message::{ContentType, Target};
use im_transport::client::{Event, SendError, new_message_id};
use tokio::task::JoinSet;

use crate::exit::{Exit, Failure};
use crate::lines::{self, Line};
use crate::output;
use crate::session::{self, Session};

/// Messages of earlier runs that are shown at the start.
const HISTORY: usize = 20;

const HELP: &str = "\
/to USER   talk to USER from now on
/join ROOM enter a room, out of the one before, and talk there; nothing said there is kept
/leave     leave the room
/help      this
/quit      leave (so does the end of the input)
Any other line is sent; begin it with // to send a line that begins with /.";

/// Talks until the user leaves.
pub(crate) async fn run(session: Session) -> Result<Exit, Failure> {
    let mut chat = Chat {
        session,
        screen: Screen { terminal: io::stdout().is_terminal() && io::stdin().is_terminal() },
        peer: None,
        room: None,
        own: BTreeSet::new(),
        answers: JoinSet::new(),
    };
    let outcome = chat.talk().await;
    chat.session.client.stop().await;
    outcome?;
    Ok(Exit::Done)
}

struct Chat {
    session: Session,
    screen: Screen,
    peer: Option<Peer>,
    /// Where the user is.
    room: Option<RoomId>,
    /// What this run sent: shown as typed, and marked when acknowledged.
    own: BTreeSet<ClientMsgId>,
    answers: JoinSet<Result<Version, SendError>>,
}

/// Whom lines go to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Peer {
    User(Uid),
    Room(RoomId),
}

impl Peer {
    fn name(&self) -> &str {
        match self {
            Self::User(user) => user.as_str(),
            Self::Room(room) => room.as_str(),
        }
    }
}

/// What a typed line means.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Typed {
    To(String),
    Join(String),
    Leave,
    Help,
    Quit,
    Unknown(String),
    Message(Vec<u8>),
}

impl Chat {
    async fn talk(&mut self) -> Result<(), Failure> {
        self.greet().await?;
        let mut input = lines::of_stdin();
        let interrupted = session::interrupted();
        tokio::pin!(interrupted);
        loop {
            self.screen.prompt(self.peer.as_ref())?;
            tokio::select! {
                line = input.recv() => match line {
                    Some(line) => {
                        if !self.on_line(line.map_err(Failure::Input)?).await? {
                            return Ok(());
                        }
                    }
                    None => return self.wait_for_answers().await,
                },
                event = self.session.next() => self.on_event(event?)?,
                Some(answer) = self.answers.join_next() => self.on_answer(answer.ok())?,
                () = &mut interrupted => return Ok(()),
            }
        }
    }

    async fn greet(&mut self) -> Result<(), Failure> {
        let cursor = self.session.store.load().await?.cursor;
        let before = Version(cursor.0.saturating_sub(i64::try_from(HISTORY).unwrap_or(0)).max(0));
        let entries = self.session.store.read(before, HISTORY).await?;
        let room = HISTORY.saturating_sub(entries.len());
        let earlier = self.session.store.earlier(EarlierPlace::END, room).await?;
        for entry in earlier.iter().rev().map(|earlier| &earlier.entry).chain(&entries) {
            self.show(entry)?;
        }
        if self.session.left_over > 0 {
            self.screen
                .note(&format!("{} messages of the last time are sent first", self.session.left_over))?;
        }
        self.screen.note(&format!(
            "you are {}; /to USER chooses whom to talk to, /help tells more",
            self.session.user
        ))
    }

    /// Whether to go on.
    async fn on_line(&mut self, line: Line) -> Result<bool, Failure> {
        let Line::Bytes(bytes) = line else {
            self.screen.note("that line is too long to be a message")?;
            return Ok(true);
        };
        match Typed::read(bytes) {
            Typed::To(name) => match Uid::new(&name) {
                Ok(peer) => self.peer = Some(Peer::User(peer)),
                Err(error) => self.screen.note(&error.to_string())?,
            },
            Typed::Join(name) => match RoomId::new(&name) {
                Ok(room) => self.join(room).await,
                Err(error) => self.screen.note(&error.to_string())?,
            },
            Typed::Leave => self.leave().await?,
            Typed::Help => self.screen.note(HELP)?,
            Typed::Quit => return Ok(false),
            Typed::Unknown(command) => {
                self.screen.note(&format!("there is no {command}; /help tells what there is"))?
            }
            Typed::Message(content) if content.is_empty() => {}
            Typed::Message(content) => match self.peer.clone() {
                Some(Peer::User(peer)) => self.send(peer, content).await,
                Some(Peer::Room(room)) => self.say(room, content).await,
                None => self.screen.note("whom to? say /to USER or /join ROOM first")?,
            },
        }
        Ok(true)
    }

    async fn send(&mut self, to: Uid, content: Vec<u8>) {
        let message = session::message(to, content);
        let id = message.client_msg_id.clone();
        if let Ok(sending) = self.session.client.send(message).await {
            self.own.insert(id);
            self.answers.spawn(async move { sending.await.map(|receipt| receipt.version) });
        }
    }

    async fn join(&mut self, room: RoomId) {
        let leave = self.room.clone();
        self.act(RoomAction::Join { room, leave }).await;
    }

    async fn leave(&mut self) -> Result<(), Failure> {
        let Some(room) = self.room.clone() else { return self.screen.note("you are in no room") };
        self.is_out_of(&room);
        self.act(RoomAction::Leave(room)).await;
        Ok(())
    }

    /// Lines do not go to this room any more.
    fn is_out_of(&mut self, room: &RoomId) {
        self.room.take_if(|current| current == room);
        self.peer.take_if(|peer| *peer == Peer::Room(room.clone()));
    }

    async fn say(&mut self, room: RoomId, content: Vec<u8>) {
        let client_msg_id = new_message_id();
        let saying = Saying { room, client_msg_id, content_type: ContentType(0), content: content.into() };
        self.act(RoomAction::Say(saying)).await;
    }

    /// If the client has ended, its last event says why.
    async fn act(&self, action: RoomAction) {
        let _ = self.session.client.room(action).await;
    }

    fn on_room(&mut self, event: &RoomEvent) -> Result<(), Failure> {
        match event {
            RoomEvent::Joined { room, members } => {
                // Joined again after a lost link, lines go on to where they went.
                if self.room.as_ref() != Some(room) {
                    self.room = Some(room.clone());
                    self.peer = Some(Peer::Room(room.clone()));
                }
                self.screen.note(&format!("you are in {}, {members} in all", printable(room.as_str())))
            }
            RoomEvent::Refused { room, .. } => {
                // Perhaps one that it was in before it lost its link.
                self.is_out_of(room);
                self.screen.note(&format!("you are not let into {}", printable(room.as_str())))
            }
            RoomEvent::Heard(heard) => {
                let (from, room) = (printable(heard.from.as_str()), printable(heard.room.as_str()));
                self.screen.line(&format!("{from} in {room}: {}", printable(&output::text(&heard.content))))
            }
            RoomEvent::Missed { room, messages } => {
                self.screen.note(&format!("{messages} messages in {} were missed", printable(room.as_str())))
            }
            RoomEvent::Left(room) => self.screen.note(&format!("you left {}", printable(room.as_str()))),
            RoomEvent::Unsaid { .. } => self.screen.note("that was not said"),
            _ => Ok(()),
        }
    }

    fn on_event(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::LoggedIn { .. } => self.screen.note("connected")?,
            Event::EpochBegan(_) => {
                self.screen.note("the server was restored; some messages may be here only")?
            }
            Event::Offline { retry_in } if retry_in.as_secs() > 0 => {
                self.screen.note(&format!("no connection; next try in {} s", retry_in.as_secs()))?;
            }
            Event::Entries { epoch, entries, cursor } => {
                for entry in &entries {
                    let just_typed = entry.client_msg_id.as_ref().is_some_and(|id| self.own.remove(id));
                    if !just_typed {
                        self.show(entry)?;
                    }
                }
                self.session.client.applied(epoch, cursor);
            }
            Event::Room(event) => self.on_room(&event)?,
            Event::Rejected(rejection) => self.screen.note(&rejection.to_string())?,
            _ => {}
        }
        Ok(())
    }

    fn on_answer(&mut self, answer: Option<Result<Version, SendError>>) -> Result<(), Failure> {
        match answer {
            Some(Ok(version)) => self.screen.note(&format!("✓ {version}")),
            Some(Err(SendError::Ended(_) | SendError::Gone)) | None => Ok(()),
            Some(Err(error)) => self.screen.note(&error.to_string()),
        }
    }

    /// The input is at its end, but what was typed shall arrive.
    async fn wait_for_answers(&mut self) -> Result<(), Failure> {
        let interrupted = session::interrupted();
        tokio::pin!(interrupted);
        while !self.answers.is_empty() {
            tokio::select! {
                event = self.session.next() => self.on_event(event?)?,
                Some(answer) = self.answers.join_next() => self.on_answer(answer.ok())?,
                () = &mut interrupted => return Ok(()),
            }
        }
        Ok(())
    }

    fn show(&self, entry: &LocalEntry) -> Result<(), Failure> {
        let text = printable(&output::text(&entry.content));
        let from = printable(entry.from.as_str());
        let line = match &entry.to {
            Target::User(to) if entry.from == self.session.user && *to != entry.from => {
                format!("you to {}: {text}", printable(to.as_str()))
            }
            Target::User(_) => format!("{from}: {text}"),
            Target::Group(group) => format!("{from} in {group}: {text}"),
        };
        self.screen.line(&line)
    }
}

impl Typed {
    fn read(line: Vec<u8>) -> Self {
        if line.starts_with(b"//") {
            return Self::Message(line[1..].to_vec());
        }
        if !line.starts_with(b"/") {
            return Self::Message(line);
        }
        let text = output::text(&line);
        let (command, rest) = text.split_once(char::is_whitespace).unwrap_or((&text, ""));
        match command {
            "/to" => Self::To(rest.trim().to_owned()),
            "/join" => Self::Join(rest.trim().to_owned()),
            "/leave" => Self::Leave,
            "/help" => Self::Help,
            "/quit" => Self::Quit,
            _ => Self::Unknown(command.to_owned()),
        }
    }
}

/// Text without control characters: what others write must not move the cursor or change the terminal.
fn printable(text: &str) -> String {
    let shown = |letter: char| match letter {
        '\t' => ' ',
        letter if letter.is_control() => '\u{fffd}',
        letter => letter,
    };
    text.chars().map(shown).collect()
}

/// Standard output, with a prompt if it is a terminal.
struct Screen {
    terminal: bool,
}

impl Screen {
    fn prompt(&self, peer: Option<&Peer>) -> Result<(), Failure> {
        if !self.terminal {
            return Ok(());
        }
        let peer = peer.map(|peer| printable(peer.name())).unwrap_or_default();
        self.write(&format!("\r\x1b[K{peer}> "))
    }

    /// A line of the conversation.
    fn line(&self, line: &str) -> Result<(), Failure> {
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        self.write(&format!("{clear}{line}\n"))
    }

    /// A line about the program.
    fn note(&self, words: &str) -> Result<(), Failure> {
        if !self.terminal {
            return self.line(&format!("* {words}"));
        }
        self.line(&format!("\x1b[2m* {words}\x1b[0m"))
    }

    fn write(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Failure::Output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Typed {
        Typed::read(line.as_bytes().to_vec())
    }

    #[test]
    fn commands_begin_with_a_slash_and_two_make_one() {
        assert_eq!(typed("/to bob "), Typed::To("bob".to_owned()));
        assert_eq!(typed("/join lobby"), Typed::Join("lobby".to_owned()));
        assert_eq!(typed("/leave"), Typed::Leave);
        assert_eq!(typed("/help"), Typed::Help);
        assert_eq!(typed("/quit"), Typed::Quit);
        assert_eq!(typed("/dance"), Typed::Unknown("/dance".to_owned()));
        assert_eq!(typed("//etc"), Typed::Message(b"/etc".to_vec()));
        assert_eq!(typed("hello /to"), Typed::Message(b"hello /to".to_vec()));
    }

    #[test]
    fn what_others_write_cannot_reach_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\tc\u{9b}é"), "a\u{fffd}[2Jb c\u{fffd}é");
    }
}
