//! What every transport must do, over a way to connect.
//!
//! A transport's own test file names a [`Transport`] and calls [`transport_suite!`](crate::transport_suite) with it.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used)]

pub mod access;
pub mod bounds;
pub mod ending;
pub mod frames;
pub mod log;
pub mod messages;
pub mod parts;
pub mod raw;
pub mod rooms;

use im_transport::{Server, ServerBuilder};

pub use self::raw::Raw;

/// A way for a server to listen and for a client to reach it.
pub trait Transport: Sync {
    /// Adds the listener.
    fn listen(&self, builder: ServerBuilder) -> ServerBuilder;

    /// Opens a link.
    fn connect(&self, server: &Server) -> impl Future<Output = Raw> + Send;
}

/// Starts a server over memory that listens on the transport.
pub async fn start(transport: &impl Transport, builder: ServerBuilder) -> Server {
    transport.listen(builder).start().await.unwrap()
}

/// A logged-in link.
pub async fn login(transport: &impl Transport, server: &Server, user: &str, device: &str) -> Raw {
    let mut link = transport.connect(server).await;
    assert_eq!(link.auth(user, device).await.status, 0);
    link
}

/// Makes one test of each scenario.
#[macro_export]
macro_rules! transport_suite {
    ($transport:expr; $($room:ident: $($scenario:ident)*;)*) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                $crate::suite::$room::$scenario(&$transport).await;
            }
        )*)*
    };
    ($transport:expr) => {
        $crate::transport_suite! { $transport;
            access:
                a_client_with_a_good_token_is_let_in
                a_client_with_a_bad_token_is_told_so_and_the_link_closes
                an_auth_that_does_not_decode_is_refused_and_the_link_closes
                any_other_command_before_auth_closes_the_link
                a_second_login_kicks_the_first_within_the_bound
                a_login_whose_link_is_gone_leaves_no_route
                a_login_that_was_evicted_without_a_kick_is_found_out
                a_link_that_logs_out_is_answered_and_closed;
            frames:
                a_stream_cut_anywhere_is_the_same_stream
                two_frames_in_one_write_get_two_answers
                a_noop_comes_back_byte_for_byte_before_and_after_auth
                a_reserved_sequence_number_closes_the_link
                a_header_that_announces_too_much_closes_the_link
                a_header_that_is_too_short_closes_the_link
                a_large_frame_arrives_whole
                random_bytes_harm_nobody_else;
            messages:
                a_message_is_acknowledged_and_pushed
                a_push_has_sequence_number_zero_and_the_links_last_version
                a_thousand_pipelined_messages_keep_their_order
                an_unknown_command_is_an_error_and_keeps_the_link
                a_command_of_the_integrators_is_served;
            rooms:
                what_is_said_in_a_room_reaches_its_other_members_and_nobody_else
                who_leaves_a_room_hears_and_says_nothing_more_there
                a_link_changes_rooms_in_one_step
                join_and_send_may_be_written_together
                what_each_link_says_arrives_in_order_and_in_one_order_for_all
                a_link_that_ends_is_in_no_room
                a_room_that_cannot_be_is_refused_and_keeps_the_link
                the_integrator_says_who_comes_in_and_what_is_said
                a_thousand_links_hear_everything_over_many_turns
                a_slow_reader_is_told_what_it_missed_and_keeps_nobody_waiting;
            bounds:
                links_that_never_speak_are_closed_at_the_auth_deadline
                half_a_frame_does_not_put_off_the_auth_deadline
                a_silent_client_is_closed_at_the_idle_limit
                a_full_gate_refuses_and_takes_again_when_a_link_goes
                one_address_gets_so_many_links_and_no_more
                a_reader_of_nothing_is_cut_while_others_chat
                a_reader_of_nothing_that_asks_for_pages_is_cut_in_bounded_memory
                pages_asked_for_on_end_come_one_by_one_to_a_slow_reader
                a_flooding_link_does_not_starve_another
                incomplete_frames_are_bounded_over_all_links
                links_without_a_login_leave_room_for_the_frames_of_others
                slow_readers_are_bounded_over_all_links
                a_flood_of_links_without_a_login_keeps_no_login_waiting
                a_handler_that_panics_costs_nobody_else_an_answer;
            ending:
                a_shutdown_answers_what_was_asked_and_sends_clients_away
                a_shutdown_closes_links_that_never_spoke
                a_shutdown_is_bounded_though_a_request_is_never_answered;
        }
    };
}
