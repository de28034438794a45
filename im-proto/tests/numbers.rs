//! The numbers that the protocol fixes: commands, sequence numbers, error codes.

use im_proto::{CmdId, ErrorCode, Seq};

#[test]
fn commands_have_the_published_numbers_and_names() {
    let published = "noop(6) signalling(243) auth(1001) logout(1002) kickout(1003) c2s(1004) s2c(1005) \
                     c2c_send(1006) c2c_push(1007) c2g_send(1008) c2g_push(1009) pull(1010) \
                     ctrl_send(1011) ctrl_push(1012) push_ack(1013) sync(1014) room_join(1015) room_leave(1016) \
                     room_send(1017) room_push(1018)";
    let ours: Vec<String> = CmdId::ALL.iter().map(CmdId::to_string).collect();
    assert_eq!(ours.join(" "), published);
}

#[test]
fn a_foreign_command_has_a_number_but_no_name() {
    assert_eq!(CmdId(2000).name(), None);
    assert_eq!(CmdId(2000).to_string(), "cmd(2000)");
}

#[test]
fn mars_reserves_the_three_highest_sequence_numbers() {
    assert_eq!([Seq::NOOP.0, Seq::IDENTIFY.0, Seq::SIGNALLING.0], [u32::MAX, u32::MAX - 1, u32::MAX - 2]);
    assert!([Seq::NOOP, Seq::IDENTIFY, Seq::SIGNALLING].into_iter().all(Seq::is_reserved));
    assert!(![Seq::PUSH, Seq(1), Seq(u32::MAX - 3)].into_iter().any(Seq::is_reserved));
}

#[test]
fn error_codes_have_the_published_numbers() {
    use ErrorCode::*;
    let published = [
        (1, UndecodableBody),
        (2, RefusedToken),
        (3, Forbidden),
        (4, NotFound),
        (5, TooLarge),
        (6, RateLimited),
        (7, Unavailable),
        (8, ClientMsgIdReused),
        (9, UnknownCommand),
        (10, VersionAheadOfHead),
        (11, TooMany),
    ];
    assert_eq!(ErrorCode::ALL.map(|error| (error.code(), error)), published);
    for (code, error) in published {
        assert_eq!(ErrorCode::from_code(code), Some(error));
    }
}

#[test]
fn success_and_unknown_codes_are_no_error_of_ours() {
    assert_eq!([0, -1, 12].map(ErrorCode::from_code), [None; 3]);
}

#[test]
fn only_a_limit_on_rate_or_a_lack_of_service_is_worth_a_retry() {
    let retryable: Vec<ErrorCode> = ErrorCode::ALL.into_iter().filter(|e| e.is_retryable()).collect();
    assert_eq!(retryable, [ErrorCode::RateLimited, ErrorCode::Unavailable]);
}
