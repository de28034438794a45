//! Each answer that a store can give otherwise is found, whichever of the two gives it.

use async_trait::async_trait;
use futures::executor::block_on;
use im_core::id::{MsgId, Uid, Version};
use im_core::memory::MemoryStore;
use im_core::message::{Digest, SendKey, TimelineId};
use im_core::storage::{
    Conversation, Cursor, Export, ExportPage, Exportable, Exported, Found, Head, Page, Read, Row, Store,
    StoreError,
};
use im_core::testing::StoreLayer;
use im_core::transfer::{Comparison, PageLimits, verify};

use crate::posts::{filled, uid, user};

/// Changes an answer.
#[derive(Clone, Copy)]
enum Flaw {
    Head,
    Floor,
    Content,
    Withdrawn,
    Shorter,
    Unread,
    NoConversation,
    Unknown,
    Digest,
    SentAt,
    CopyElsewhere,
    Located,
    NotLocated,
    Cursor,
    NoCursor,
    NoNode,
    Epoch,
    /// A row is not exported, although the store answers from it.
    OneMessageLess,
}

struct Wrong(MemoryStore, Flaw);

/// What a test of one flaw is about: alice's sixth message.
const SIXTH: Version = Version(6);

#[async_trait]
impl StoreLayer for Wrong {
    fn inner(&self) -> &dyn Store {
        &self.0
    }

    async fn heads(&self, timelines: Vec<TimelineId>) -> Result<Vec<Head>, StoreError> {
        let mut heads = self.inner().heads(timelines.clone()).await?;
        for (_, head) in timelines.iter().zip(&mut heads).filter(|(timeline, _)| **timeline == user("alice"))
        {
            match self.1 {
                Flaw::Head => head.head = head.head.next(),
                Flaw::Floor => head.floor = Version(1),
                _ => {}
            }
        }
        Ok(heads)
    }

    async fn read(&self, reads: Vec<Read>) -> Vec<Result<Page, StoreError>> {
        let mut pages = self.inner().read(reads.clone()).await;
        let pages_of = reads.iter().zip(&mut pages).filter(|(read, _)| read.timeline == user("alice"));
        for page in pages_of.filter_map(|(_, page)| page.as_mut().ok()) {
            if matches!(self.1, Flaw::Shorter) {
                page.entries.retain(|entry| entry.version < SIXTH);
            }
            for entry in page.entries.iter_mut().filter(|entry| entry.version == SIXTH) {
                match self.1 {
                    Flaw::Content => entry.message.content = "012345678x".into(),
                    Flaw::Withdrawn => entry.withdrawn_at = Some(entry.message.sent_at),
                    _ => {}
                }
            }
        }
        pages
    }

    async fn conversations(
        &self,
        owner: &Uid,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<Conversation>, StoreError> {
        let mut rows = self.inner().conversations(owner, before, limit).await?;
        match self.1 {
            Flaw::Unread if *owner == uid("alice") => rows[1].unread += 1,
            Flaw::NoConversation if *owner == uid("alice") => drop(rows.pop()),
            _ => {}
        }
        Ok(rows)
    }

    async fn find(&self, keys: Vec<(Uid, SendKey)>) -> Result<Vec<Option<Found>>, StoreError> {
        let mut sends = self.inner().find(keys).await?;
        let tenth =
            |send: &&mut Option<Found>| send.as_ref().is_some_and(|found| found.placed.msgid == MsgId(10));
        for send in sends.iter_mut().filter(tenth) {
            match (self.1, &mut *send) {
                (Flaw::Unknown, send) => *send = None,
                (Flaw::Digest, Some(found)) => found.digest = Digest([0; 16]),
                (Flaw::SentAt, Some(found)) => found.placed.sent_at.0 += 1,
                (Flaw::CopyElsewhere, Some(found)) => found.placed.copy = Some(Version(1)),
                _ => {}
            }
        }
        Ok(sends)
    }

    async fn locate(&self, messages: Vec<(TimelineId, MsgId)>) -> Result<Vec<Option<Version>>, StoreError> {
        let mut found = self.inner().locate(messages.clone()).await?;
        let tenth = messages.iter().zip(&mut found).filter(|((_, msgid), _)| *msgid == MsgId(10));
        for (_, version) in tenth {
            match self.1 {
                Flaw::Located => *version = Some(Version(1)),
                Flaw::NotLocated => *version = None,
                _ => {}
            }
        }
        Ok(found)
    }

    async fn cursors(&self, of: Vec<(Uid, TimelineId)>) -> Result<Vec<Vec<Cursor>>, StoreError> {
        let mut lists = self.inner().cursors(of.clone()).await?;
        for (_, list) in of.iter().zip(&mut lists).filter(|((of, _), _)| *of == uid("bob")) {
            match self.1 {
                Flaw::Cursor => list[0].version = Version(4),
                Flaw::NoCursor => list.clear(),
                _ => {}
            }
        }
        Ok(lists)
    }
}

#[async_trait]
impl Export for Wrong {
    /// Rows that the store does not answer from, it does not export either.
    async fn export(&self, page: ExportPage) -> Result<Exported, StoreError> {
        let mut page = self.0.export(page).await?;
        page.rows.retain(|row| match (self.1, row) {
            (Flaw::Unknown | Flaw::OneMessageLess, Row::Post(post)) => post.message.msgid != MsgId(10),
            (Flaw::NoCursor, Row::Cursor(ack)) => ack.uid != uid("bob"),
            (Flaw::NoNode, Row::Node(_)) => false,
            _ => true,
        });
        for row in &mut page.rows {
            if let (Flaw::Epoch, Row::Node(held)) = (self.1, row) {
                held.epoch += 1;
            }
        }
        Ok(page)
    }
}

fn compare(first: &dyn Exportable, second: &dyn Exportable) -> Comparison {
    let limits = PageLimits { rows: 1_000, ..PageLimits::default() };
    block_on(verify(first, second, limits, &mut |_| ())).unwrap()
}

/// What is said of a store with a flaw beside a sound one, and of the sound one beside it.
fn said(flaw: Flaw) -> [String; 2] {
    let (sound, wrong) = (filled(), Wrong(filled(), flaw));
    [compare(&sound, &wrong), compare(&wrong, &sound)].map(|found| {
        assert!(!found.is_equal());
        found.differences.iter().map(|difference| format!("{difference}\n")).collect()
    })
}

#[test]
fn a_timeline_that_ends_elsewhere_is_found() {
    let [one, other] = said(Flaw::Head);
    assert_eq!(one, "the timeline of user \"alice\": 0 to 13 in the first store, 0 to 14 in the second\n");
    assert_eq!(other, "the timeline of user \"alice\": 0 to 14 in the first store, 0 to 13 in the second\n");
}

#[test]
fn a_timeline_that_begins_elsewhere_is_found() {
    let [one, _] = said(Flaw::Floor);
    assert_eq!(one, "the timeline of user \"alice\": 0 to 13 in the first store, 1 to 13 in the second\n");
}

#[test]
fn entries_that_differ_are_found_where_they_begin_to() {
    for flaw in [Flaw::Content, Flaw::Withdrawn, Flaw::Shorter] {
        let line = "the timeline of user \"alice\": the entries differ from version 6 on\n";
        assert_eq!(said(flaw), [line, line]);
    }
}

#[test]
fn conversation_lists_that_differ_are_found() {
    let line = |row| format!("the conversation list of user \"alice\": differs from row {row} on\n");
    assert_eq!(said(Flaw::Unread), [line(1), line(1)]);
    assert_eq!(said(Flaw::NoConversation), [line(2), line(2)]);
}

#[test]
fn a_send_that_is_remembered_otherwise_is_found() {
    for (flaw, differs) in [
        (Flaw::Digest, "digest 00000000000000000000000000000000"),
        (Flaw::SentAt, "message 10 of 11 ms"),
        (Flaw::CopyElsewhere, "and 1, digest"),
    ] {
        let [one, other] = said(flaw);
        for line in [&one, &other] {
            assert!(line.starts_with("the send key of message 10: message 10 of 1"), "{line}");
            assert!(line.contains(differs) && line.lines().count() == 1, "{line}");
        }
        assert!(one.find(differs) > one.find("in the first store"), "{one}");
        assert!(other.find(differs) < other.find("in the first store"), "{other}");
    }
}

#[test]
fn a_send_that_one_store_does_not_know_is_found() {
    let [one, other] = said(Flaw::Unknown);
    assert!(one.contains("digest") && one.contains("unknown in the second"), "{one}");
    assert!(one.contains("30 messages in the first store, 29 in the second\n"), "{one}");
    assert!(other.contains("29 messages in the first store, 30 in the second\n"), "{other}");
    assert!(other.contains("the send key of message 10: unknown in the first store, message 10"), "{other}");
}

#[test]
fn a_message_that_is_exported_by_one_store_alone_is_found() {
    let line = |a, b| format!("{a} messages in the first store, {b} in the second\n");
    assert_eq!(said(Flaw::OneMessageLess), [line(30, 29), line(29, 30)]);
}

#[test]
fn a_message_that_stands_elsewhere_is_found() {
    let [one, other] = said(Flaw::Located);
    assert!(one.contains("message 10 stands at version 1 in the timeline of user"), "{one}");
    assert!(one.lines().all(|line| line.ends_with(", says the second store")), "{one}");
    assert!(other.lines().all(|line| line.ends_with(", says the first store")), "{other}");
    let [one, _] = said(Flaw::NotLocated);
    assert!(one.starts_with("message 10 stands nowhere in the timeline of user"), "{one}");
}

#[test]
fn cursors_that_differ_are_found() {
    let line = |a: &str, b: &str| {
        format!(
            "the devices of user \"bob\" in the timeline of user \"bob\": {a} in the first store, {b} in the second\n"
        )
    };
    let (five, four) = ("\"phone\" at 5", "\"phone\" at 4");
    assert_eq!(said(Flaw::Cursor), [line(five, four), line(four, five)]);
    assert_eq!(said(Flaw::NoCursor), [line(five, "none"), line("none", five)]);
}

#[test]
fn node_numbers_that_differ_are_found() {
    let held = |epoch| format!("0 held by \"a\", epoch {epoch}, until 1001 ms");
    let line = |a: &str, b: &str| format!("node {a} in the first store, {b} in the second\n");
    assert_eq!(said(Flaw::NoNode), [line(&held(1), "unknown"), line("unknown", &held(1))]);
    assert_eq!(said(Flaw::Epoch), [line(&held(1), &held(2)), line(&held(2), &held(1))]);
}

#[test]
fn a_timeline_that_one_store_does_not_have_is_found() {
    let (empty, filled) = (MemoryStore::default(), filled());
    let line = "the timeline of user \"bob\"";
    assert!(compare(&empty, &filled).to_string().contains(&format!("{line}: 0 to 0 in the first store")));
    assert!(compare(&filled, &empty).to_string().contains("0 to 0 in the second"));
}

#[test]
fn the_first_differences_are_listed_and_all_are_counted() {
    let found = compare(&filled(), &MemoryStore::default());
    assert_eq!(found.differences.len(), 20);
    assert!(found.found > 60);
    let last = format!("{} differences, {} of them not listed", found.found, found.found - 20);
    assert!(found.to_string().ends_with(&last), "{found}");
}
