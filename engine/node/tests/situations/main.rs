//! Real nodes in processes of their own, real clients, real files: what must hold when things go wrong.

mod raw;
#[allow(dead_code, reason = "other test programs use it, too")]
mod support;

mod a_client_dies_inside_a_put;
mod a_client_writes_nonsense;
mod a_node_is_killed_at_any_moment;
mod a_node_serves;
mod a_session_comes_back;
mod a_start_goes_on_from_a_checkpoint;
mod clean_stop_drains;
mod the_directory_is_not_usable;
mod the_disk_is_full;
mod the_hot_tier_is_too_small;
mod the_log_is_damaged;
mod the_power_is_cut;
mod the_socket_gets_garbage;
mod two_nodes_share_two_cores;
