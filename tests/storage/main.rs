//! The log on disk, against the machine's file system and against one that fails and forgets.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "../support/mod.rs"]
mod support;

mod history;
mod stage;

mod commit_note_test;
mod cursors_test;
mod damage_test;
mod data_dir_test;
mod faults_test;
mod leftovers_test;
mod missing_test;
mod model_test;
mod nothing_left_test;
mod offline_test;
mod repair_test;
mod sim_fs_test;
mod start_up_test;
mod transfer_test;
mod trim_point_test;
mod vote_test;
