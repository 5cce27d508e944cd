"""Every requirement row of provenance and audit, and every fault of AUDIT.md: what shows it, or why not.

    python -m tests.rules.audit_rows

In the manner of `order_rows`. `open` says what is left out or done otherwise, with its decision (D in
DECISIONS.md) or its reason; a row that is open without a test is not built. Speeds stand in tests/bench.
"""

from __future__ import annotations

from tests.rules.rule_table import Rule, read_rules, tell_rules

GROUPS = {"PRV": 8, "AUD": 22}
"""How many rows each whole group of the specification has."""

SINGLE = ("QRY-04", "U11", "U13", "U14", "U15", "P09", "P17", "P47", "P48")
"""Rows of other groups that are about the log."""

FAULTS_OF_THE_DESIGN = 17

TABLE = """
PRV-01 A record has a creator, a time, parents, and a signature that covers them
 unit/test_audit_records.py::test_the_bytes_of_an_entry_are_exactly_these
 unit/test_audit_row_details.py::test_a_parent_changed_after_signing_is_found
 open: no signature, key or hash inside a record: the checkpoint's covers every entry, and its key is
 open: trusted from outside (P17)
PRV-02 A record is made with its creator and the time of its making
 unit/test_audit_row_details.py::test_an_entry_is_made_with_its_creator_and_the_time_of_its_writing
 open: nanoseconds of two clocks instead of microseconds of one (SAFETY 10)
PRV-03 Ed25519 over a hash of canonical content
 unit/test_audit_checkpoint.py::test_the_worked_checkpoint_is_signed_and_cosigned_byte_for_byte
 property/test_audit_properties.py::test_entries_are_what_rfc_8785_writes
 open: signed are checkpoints and not entries one by one (AUDIT.md); an entry is hashed with everything
 open: it says
PRV-04 Verification hashes the data again and checks the key against a trust root
 unit/test_audit_verify.py::test_an_entry_exchanged_for_a_well_formed_one_is_named
 unit/test_audit_verify.py::test_another_key_does_not_verify
 unit/test_audit_verify.py::test_every_published_file_is_looked_at
PRV-05 A parent cannot be changed after signing
 unit/test_audit_row_details.py::test_a_parent_changed_after_signing_is_found
 unit/test_audit_records.py::test_causes_point_backwards
PRV-06 Each way to fail has its own words
 unit/test_audit_row_details.py::test_each_way_to_fail_has_its_own_words
 unit/test_audit_notes.py::test_messages_name_the_line
PRV-07 What was observed can be verified
 unit/test_runtime_history.py::test_the_log_remembers_the_files_a_run_was_last_replayed_from
 faults/test_memory_faults.py::test_a_precedent_whose_bar_was_changed_is_not_given
 unit/test_memory_identity.py::test_the_identity_of_a_bar_is_pinned
 open: observations are no entries: the log has the SHA-256 of each recording, and a signal names its
 open: observation by time and its precedents by identity; a live feed's own signature comes with live
 open: feeds
PRV-08 Signatures are valid, and altered data fails
 property/test_audit_properties.py::test_no_flipped_bit_of_a_log_goes_unnoticed
 outside/test_third_party.py::test_the_whole_log_is_accepted
 outside/test_third_party.py::test_every_tampering_is_refused_for_its_reason
AUD-01 Rule 15c3-5
 open: nothing is claimed or certified (P39): the rule binds broker-dealers; what it asks for – controls
 open: before the order, a kill switch, records – is rows RSK, HW and AUD-03
AUD-02 Every order is judged before it leaves
 flow/test_dangerous_orders.py::test_a_dangerous_order_is_denied
 rules/test_rules_code.py::test_approved_is_constructed_in_one_place
 open: its time is in python -m tests.bench gate: microseconds, where 100 ms are asked for
AUD-03 An audit trail as it happens, with cryptographic integrity
 flow/test_what_is_logged.py::test_each_kind_of_a_run_is_there_with_its_fields_and_causes
 flow/test_before_sending.py::test_new_exposure_waits_until_it_is_durable
 outside/test_third_party.py::test_the_whole_log_is_accepted
AUD-04 An automatic kill switch within a second
 flow/test_losses.py::test_an_account_limit_trips_the_box
 flow/test_appliance.py::test_from_the_button_to_flat_and_back
 open: the second is measured: python -m tests.bench kill
AUD-05 The day's loss is watched, and trading stops at its limit
 flow/test_losses.py::test_an_account_limit_trips_the_box
 flow/test_losses.py::test_the_marks_of_a_days_loss_are_told_once_a_day
AUD-06 Reports out of the log
 unit/test_audit_day_report.py::test_the_story_is_counted_and_listed
 flow/test_audit_report.py::test_a_day_is_told_in_text
 flow/test_audit_export.py::test_a_bundle_has_the_stored_bytes_and_checks_anywhere
 open: on request, for a day, and a signed bundle for an auditor; no regulator's own form is named by
 open: anybody
AUD-07 Stress testing as it happens
 open: research, listed by the specification itself as not implemented
AUD-08 Anomaly detection
 open: research, listed by the specification itself as not implemented
AUD-09 Surveillance across markets
 open: research, listed by the specification itself as not implemented
AUD-10 Interfaces of regulators
 open: research, listed by the specification itself as not implemented
AUD-11 The five parts together
 flow/test_what_is_logged.py::test_who_pressed_and_what_followed_is_one_chain
 flow/test_audit_report.py::test_a_day_is_told_in_text
 open: no class of that name: runtime/build.py puts gate, log, kill switch and reports together;
 open: surveillance is AUD-16
AUD-12 The engine before the trade
 flow/test_dangerous_orders.py::test_a_dangerous_order_is_denied
 property/test_core_two_sided.py::test_never_lets_danger_through_and_never_traps_an_exit
AUD-13 Every transaction is in the log
 faults/test_crash_runs.py::test_killed_cores_leave_a_log_that_equals_the_venue
 flow/test_what_is_logged.py::test_who_pressed_and_what_followed_is_one_chain
 property/test_audit_completeness_properties.py::test_an_entry_that_was_never_appended_is_missed
AUD-14 The kill switch in that whole
 flow/test_appliance.py::test_from_the_button_to_flat_and_back
 flow/test_cancel_only.py::test_guard_and_core_both_dead
AUD-15 The reporting engine
 unit/test_audit_day_report.py::test_the_story_is_counted_and_listed
 flow/test_audit_report.py::test_a_damaged_log_is_reported_and_said_not_to_verify
 open: see AUD-06
AUD-16 Market surveillance
 open: research: its rules are not defined
AUD-17 Targets of compliance
 faults/test_crash_runs.py::test_killed_cores_leave_a_log_that_equals_the_venue
 open: all of them at once: 80 ms before a trade and 1 s to the kill are measured in tests/bench gate and
 open: kill; whole coverage is AUD-13; the report is made when asked
AUD-18 Checks in parallel
 open: they are arithmetic on memory; a thread for each would cost more than all of them (D78)
AUD-19 Risk, audit and trading are apart
 rules/test_rules_imports.py::test_pure_stages_do_not_import_each_other
 rules/test_rules_imports.py::test_no_two_packages_import_each_other
 unit/test_audit_verify.py::test_a_log_that_grows_meanwhile_is_whole
AUD-20 Modules for compliance and audit
 rules/test_rules_layout.py::test_every_package_is_listed_for_the_wheel
 open: audit is one; compliance is the packages risk and safety, by what they do
AUD-21 A system that fails: redundancy and watching
 flow/test_cancel_only.py::test_a_stopped_core_cannot_keep_orders_open
 flow/test_cancel_only.py::test_guard_and_core_both_dead
 flow/test_alerts.py::test_press_and_dead_core_reach_the_owner_the_page_and_metrics
AUD-22 Nothing is lost
 faults/test_storage_log_kill.py::test_nothing_acknowledged_is_lost_and_nothing_signed_is_taken_back
 faults/test_storage_log_faults.py::test_each_call_fails_once
 open: acknowledged is durable, as P48 says; what was not acknowledged opened nothing at a venue
QRY-04 The chain of a decision, cycle-safe, within 10 ms at depth 10
 unit/test_audit_provenance.py::test_an_order_s_chain_goes_from_the_signal_to_the_leg_s_last_state
 unit/test_audit_provenance.py::test_no_forged_circle_holds_anybody_up
 flow/test_audit_why.py::test_an_order_is_explained_with_its_result
 flow/test_web_decisions.py::test_a_decision_of_the_log_is_drawn_and_nothing_else_is
 open: the time is in python -m tests.bench audit
U11 Upstream: protocol, acknowledgement, order, retry, offline for days, transport
 flow/test_upstream_end_to_end.py::test_a_cosignature_arrives_and_outages_are_survived
 flow/test_upstream_end_to_end.py::test_thirty_days_offline_are_caught_up
 flow/test_upstream_end_to_end.py::test_the_mirror_holds_what_the_log_published
 faults/test_upstream_client.py::test_the_back_off_is_capped_and_jittered
 faults/test_upstream_mirror.py::test_it_asks_where_to_begin_and_ends_with_a_co_signature
 flow/test_upstream_tls.py::test_the_pinned_certificate_is_trusted_and_no_other
 flow/test_upstream_end_to_end.py::test_a_box_is_enrolled_at_a_collector_of_another_machine
 flow/test_what_is_logged.py::test_the_mirror_s_copy_is_verified_to_the_last_file
 flow/test_upstream_enrolment.py::test_from_a_token_on_one_machine_to_an_enrolled_box_on_another
 flow/test_upstream_end_to_end.py::test_a_long_upload_does_not_keep_the_witness_waiting
 open: no client certificate: every checkpoint is signed
U13 Keys: where they live, rotation, ids, revocation
 unit/test_storage_keys.py::test_a_key_others_may_read_is_refused
 unit/test_storage_keys.py::test_no_flipped_bit_of_a_private_key_is_read
 unit/test_audit_checkpoint.py::test_keys_and_hashes_of_the_worked_log
 flow/test_audit_export.py::test_no_secret_ever_leaves
 faults/test_storage_log_rotate.py::test_the_power_goes_between_any_two_calls
 unit/test_audit_key_chain.py::test_a_rotation_by_a_stranger_is_found_where_it_stands
 unit/test_audit_key_chain.py::test_a_revoked_key_is_not_believed_from_there_on
 flow/test_keys.py::test_a_start_names_the_keys_in_force
 open: the log's key rotates; those of witness, mirror, export and operator are replaced by hand; no
 open: configuration is encrypted: it holds no secret
U14 Record schema, canonical form, chain, genesis, checkpoints, rotation, retention
 unit/test_audit_records.py::test_the_bytes_of_an_entry_are_exactly_these
 property/test_audit_properties.py::test_entries_are_what_rfc_8785_writes
 unit/test_storage_log_store.py::test_a_new_log_is_empty_signed_and_whole
 unit/test_storage_log_store.py::test_published_files_are_those_of_the_specification
 flow/test_storage_log_client.py::test_publication_on_request_and_by_cadence
 outside/test_third_party_formats.py::test_the_worked_log_out_of_our_store_is_accepted
 unit/test_storage_retention.py::test_only_whole_segments_under_a_co_signature_are_pruned
 unit/test_storage_retention.py::test_nobody_who_reads_notices
 faults/test_storage_log_rotate.py::test_a_rotation_without_a_fault
U15 Which clock governs what
 unit/test_safety_clock_watch.py::test_a_step_of_a_second
 unit/test_safety_clock_watch.py::test_a_step_while_no_core_ran_is_seen
 flow/test_clock.py::test_a_clock_that_is_lost_steps_and_comes_back
 unit/test_recovery_plan.py::test_a_restart_goes_on_where_the_log_says
 open: a cooldown of 24 h for loosened configuration comes with sealing
P09 A durable write within 10 ms cannot be promised on a card
 flow/test_before_sending.py::test_an_exit_waits_50_ms_for_the_log_and_then_goes
 bench/test_storage_latency.py::test_it_measures
 open: no promise: the figure is stated twice, native and with injected latency (SAFETY 13)
P17 A stored hash and a key that vouches for itself prove nothing
 unit/test_audit_verify.py::test_another_key_does_not_verify
 unit/test_audit_verify.py::test_an_entry_exchanged_for_a_well_formed_one_is_named
 unit/test_audit_row_details.py::test_a_parent_changed_after_signing_is_found
 flow/test_audit_export.py::test_a_bundle_never_vouches_for_itself
P47 A walk over causes ends, and a cut is said
 unit/test_audit_provenance.py::test_no_forged_circle_holds_anybody_up
 unit/test_audit_provenance.py::test_a_chain_without_end_is_cut_and_says_so
 unit/test_audit_provenance.py::test_what_was_not_looked_at_is_said
P48 Only "acknowledged is durable" can be proven
 faults/test_storage_log_kill.py::test_nothing_acknowledged_is_lost_and_nothing_signed_is_taken_back
 flow/test_storage_log_client.py::test_a_core_that_is_killed_loses_nothing_it_was_told_is_durable
 flow/test_before_sending.py::test_new_exposure_waits_until_it_is_durable
 faults/test_disk_full_log.py::test_wherever_the_last_page_goes_nothing_acknowledged_is_lost
"""

FAULTS = """
F01 kill -9 at every step boundary, 1,000 runs and more
 faults/test_storage_log_kill.py::test_nothing_acknowledged_is_lost_and_nothing_signed_is_taken_back
 faults/test_storage_log_kill.py::test_a_writer_killed_while_it_starts_leaves_the_log_usable
 unit/test_storage_log_store.py::test_a_publication_interrupted_anywhere_is_made_good
 faults/test_crash_matrix.py::test_whenever_the_core_dies_the_log_and_the_venue_agree_afterwards
 faults/test_crash_runs.py::test_killed_cores_leave_a_log_that_equals_the_venue
 faults/test_crash_runs.py::test_a_thousand_killed_cores
 faults/test_log_kill_steps.py::test_a_few_kills_at_chosen_steps
 faults/test_log_kill_steps.py::test_a_thousand_kills_at_every_step
F02 Power cut
 vm/test_vm_cuts.py::test_power_cuts_around_a_press
 vm/test_vm_log.py::test_power_cuts_while_the_log_grows
 faults/test_storage_lost_pages.py::test_what_is_acknowledged_after_a_failed_fsync_survives_a_power_cut
 open: the collector's own machine is not cut in the rig; its store is, in user space
F03 No space at each write, and recovery after freeing
 faults/test_storage_log_faults.py::test_each_call_fails_once
 faults/test_disk_full_log.py::test_wherever_the_last_page_goes_nothing_acknowledged_is_lost
 faults/test_disk_full_log.py::test_what_was_used_is_made_again_and_used_again
 flow/test_disk_full.py::test_a_full_disk_trips_and_the_box_can_be_armed_again
 faults/test_upstream_mirror.py::test_a_full_disk_ends_it_and_loses_nothing
F04 Remounted read-only
 unit/test_storage_sqlite.py::test_a_card_mounted_read_only_can_be_read
 vm/test_vm_log.py::test_a_disk_remounted_read_only_and_back
F05 EIO on an fsync, once
 faults/test_storage_lost_pages.py::test_a_witness_does_not_forget_after_a_failed_fsync
 vm/test_vm_log.py::test_an_fsync_that_fails_once_and_then_a_power_cut
 faults/test_storage_log_faults.py::test_each_call_fails_once
 vm/test_vm_power.py::test_a_disk_that_fails_is_not_trusted_until_a_reboot
F06 Torn last WAL frame, truncated bundle, zeroed tail
 unit/test_storage_log_store.py::test_a_damaged_right_edge_is_seen_at_start
 unit/test_audit_verify.py::test_a_file_that_is_too_short_or_too_long_is_named
 outside/test_third_party.py::test_every_tampering_is_refused_for_its_reason
 faults/test_audit_torn.py::test_a_torn_end_of_the_write_ahead_log_is_where_the_log_ends
 faults/test_audit_torn.py::test_every_published_file_that_lost_its_end_is_named
F07 A flipped bit in each class of database page, tile, bundle, checkpoint, key file
 faults/test_audit_damage.py::test_every_class_of_published_file_is_checked_on_disk
 faults/test_audit_damage.py::test_no_flipped_bit_of_the_database_changes_an_entry_unseen
 faults/test_audit_damage.py::test_a_flipped_bit_of_the_verifier_key_never_verifies
 unit/test_storage_keys.py::test_no_flipped_bit_of_a_private_key_is_read
 flow/test_what_is_logged.py::test_the_mirror_s_copy_is_verified_to_the_last_file
F08 Clock an hour back, ten years back, ten years on
 unit/test_safety_clock_watch.py::test_a_step_of_a_second
 unit/test_safety_clock_watch.py::test_every_step_is_told_in_either_direction
 flow/test_audit_export.py::test_several_tiles_and_a_stepped_clock
 vm/test_vm_faults.py::test_a_step_of_the_clock_moves_nothing
 faults/test_audit_torn.py::test_a_clock_that_is_far_off_orders_nothing
 faults/test_audit_torn.py::test_a_witness_whose_clock_is_far_off_co_signs_all_the_same
 open: not a certificate's dates
F09 Upstream 500, 503, timeout, slow, half written, duplicate, late, wrong type
 faults/test_upstream_http.py::test_only_200_is_a_success
 faults/test_upstream_http.py::test_silence_is_given_up_and_holds_up_nobody
 faults/test_upstream_http.py::test_an_answer_that_comes_too_late_is_made_good
 faults/test_upstream_http.py::test_an_answer_that_comes_twice_counts_once
 faults/test_upstream_client.py::test_no_other_status_is_a_success
 faults/test_upstream_client.py::test_a_witness_that_never_answers_is_given_up
 faults/test_upstream_client.py::test_half_an_answer_and_a_closed_connection_are_failures_to_talk
 faults/test_upstream_client.py::test_replies_are_bounded
 faults/test_upstream_mirror.py::test_what_is_no_success_advances_nothing
 faults/test_upstream_client.py::test_what_only_a_person_can_settle_is_an_alarm
 faults/test_upstream_client.py::test_a_witness_that_has_exactly_our_size_cosigns_it_again
 flow/test_upstream_collector.py::test_requests_at_once_end_in_one_history
F10 Upstream forked, behind, ahead
 faults/test_upstream_client.py::test_another_history_at_the_witness_is_seen_before_anything_is_offered
 faults/test_upstream_client.py::test_a_witness_behind_our_record_is_brought_up_again
 faults/test_upstream_client.py::test_a_witness_ahead_of_us_is_seen_before_anything_is_offered
 unit/test_upstream_mirror.py::test_another_history_is_refused_from_its_first_package
F11 A co-signature by a wrong key, or replayed
 faults/test_upstream_client.py::test_a_200_without_the_right_cosignature_is_none
 faults/test_upstream_mirror.py::test_a_co_signature_by_another_key_is_none
 faults/test_upstream_mirror.py::test_a_co_signature_of_yesterday_is_none
F12 The log's key replaced, empty, of a wrong mode
 faults/test_audit_damage.py::test_a_log_whose_key_was_exchanged_takes_nothing
 unit/test_storage_keys.py::test_an_empty_key_is_called_empty
 unit/test_storage_keys.py::test_a_key_others_may_read_is_refused
F13 Two writers
 flow/test_storage_log_client.py::test_a_second_core_is_refused_and_the_first_goes_on
 unit/test_storage_log_store.py::test_a_head_somebody_else_moved_is_never_signed_over
F14 The database restored from yesterday
 unit/test_storage_log_store.py::test_yesterday_s_database_under_today_s_files_is_refused
 unit/test_storage_log_store.py::test_yesterday_s_log_under_today_s_cosigned_head_is_refused
 flow/test_upstream_end_to_end.py::test_yesterday_s_card_is_found_out_by_the_witness
F15 Thirty days offline
 flow/test_upstream_end_to_end.py::test_thirty_days_offline_are_caught_up
F16 Entries of 0, 65,535 and 65,536 bytes, and not UTF-8
 unit/test_audit_tiles.py::test_entries_of_any_length_the_format_has
 unit/test_audit_tiles.py::test_an_entry_of_65536_bytes_has_no_form
 unit/test_storage_log_store.py::test_an_entry_no_bundle_can_hold_is_refused
 outside/test_third_party_formats.py::test_entries_of_any_bytes_are_accepted_as_logged
F17 Sizes 255, 256, 257, 65,535, 65,536, 65,537
 unit/test_audit_tiles.py::test_the_right_edge_of_every_interesting_size
 unit/test_storage_log_store.py::test_65536_entries_fill_a_tile_of_the_second_level
 outside/test_third_party_formats.py::test_sizes_around_full_tiles_are_accepted
"""

ROWS: tuple[Rule, ...] = read_rules(TABLE)
FAULT_ROWS: tuple[Rule, ...] = read_rules(FAULTS)

if __name__ == "__main__":
    import sys

    sys.stdout.write(f"{tell_rules(ROWS)}\n\n{tell_rules(FAULT_ROWS)}\n")
