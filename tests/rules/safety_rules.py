"""Every rule of SAFETY.md 1–8 and 10–12, C04 and every HW row: a checkable sentence and what shows it.

    python -m tests.rules.safety_rules

A rule is shown by tests that carry its id in `@pytest.mark.safety(…)`, or is `open` with the reason. Made by
reading SAFETY.md sentence by sentence; the wording here is shorter, and SAFETY.md wins. Section 9 (money
figures) and 13 (what a figure means) have their tests without ids, in test_portfolio and in tests/bench.
"""

from __future__ import annotations

from tests.rules.rule_table import read_rules, tell_rules

SECTIONS = ("S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S10", "S11", "S12", "C04", "HW")

TABLE = """
S1.1 The mode is one of four and moves by the literal transition table only
 unit/test_safety_controller.py::test_every_pair_of_the_mode_table
 unit/test_safety_constants.py::test_the_mode_table_is_literally_this
 unit/test_safety_sequences.py::test_a_reason_leads_to_its_mode_from_every_mode
S1.2 A trip is latched: it shuts the gate to new exposure and ends only by arming
 unit/test_safety_sequences.py::test_a_trip_ends_only_by_arming
 unit/test_risk_matrix.py::test_cell
S1.3 The first reason wins, later ones are recorded: page, core and log
 unit/test_guard_machine.py::test_the_first_reason_wins_and_later_ones_are_recorded
 unit/test_safety_sequences.py::test_two_reasons_in_every_order
 unit/test_safety_sequences.py::test_two_trips_of_the_core_in_every_order
S1.4 Kill button, drawdown, daily loss and tamper if so configured lead to EMERGENCY
 unit/test_safety_sequences.py::test_a_reason_leads_to_its_mode_from_every_mode
 unit/test_safety_controller.py::test_tamper_can_be_configured_to_be_an_emergency
S1.5 Every other reason leads to PAUSED, and does not end an EMERGENCY
 unit/test_safety_sequences.py::test_a_reason_leads_to_its_mode_from_every_mode
 unit/test_safety_controller.py::test_each_trip_reason_leads_to_the_mode_of_the_table
S1.6 A trip to PAUSED cancels what increases exposure, keeps protective orders, holds positions
 flow/test_core_exits.py::test_a_sweep_cancels_entries_and_keeps_the_protective_leg
 flow/test_safety_loop.py::test_nothing_is_worked_off_on_a_ledger_known_to_be_wrong
 flow/test_execution.py::test_a_mode_ends_an_entry_for_good
S1.7 A trip to PAUSED alerts
 flow/test_alerts.py::test_press_and_dead_core_reach_the_owner_the_page_and_metrics
S1.8 Nothing is liquidated on a ledger or a clock that is known to be wrong
 unit/test_safety_sequences.py::test_nothing_is_sold_on_a_ledger_or_clock_known_to_be_wrong
 flow/test_safety_loop.py::test_nothing_is_worked_off_on_a_ledger_known_to_be_wrong
 unit/test_runtime_clock.py::test_an_unresolved_hold_trips_once_and_liquidates_nothing
S1.9 A hold is not latched and ends by itself with its cause
 unit/test_safety_controller.py::test_a_guard_that_comes_back_in_time_ends_the_hold
 flow/test_safety_loop.py::test_a_venue_that_is_down_is_a_hold_of_its_scope_and_ends_with_it
S1.10 A hold has a scope (box, venue, instrument) and bars new exposure in that scope alone
 unit/test_safety_controller.py::test_holds_have_scopes
 unit/test_safety_sequences.py::test_a_hold_of_one_scope_does_not_end_another
 unit/test_risk_matrix.py::test_cell
S1.11 Exits are allowed while a hold stands
 unit/test_risk_matrix.py::test_cell
S1.12 All standing holds are shown
 unit/test_safety_sequences.py::test_every_standing_hold_is_shown_and_ends_alone
 unit/test_web_view.py::test_a_hold_is_seen_beside_the_mode
S1.13 A hold resumes to NORMAL only if the arm epoch is unchanged
 unit/test_safety_sequences.py::test_a_hold_resumes_to_normal_only_in_the_same_arm_epoch
 unit/test_safety_sequences.py::test_the_page_is_open_only_if_three_words_agree
S1.14 Starting and reconciling are holds
 flow/test_safety_loop.py::test_starting_and_reconciling_are_holds_until_the_state_is_rebuilt
 unit/test_safety_controller.py::test_no_permit_while_a_hold_stands_on_the_box
S1.15 Stale data is a hold on its instrument
 unit/test_market_quality.py::test_an_old_price_holds_the_instrument
 unit/test_market_quality.py::test_an_instrument_is_held_from_the_start
S1.16 A venue that is down is a hold on that venue
 flow/test_safety_loop.py::test_a_venue_that_is_down_is_a_hold_of_its_scope_and_ends_with_it
S1.17 A late guard heartbeat is a hold
 unit/test_safety_controller.py::test_a_silent_guard_is_a_hold_then_a_trip
S1.18 OTA, a stepped or unsynchronised clock and the disk quota are holds
 unit/test_safety_clock_watch.py::test_a_step_of_a_second
 unit/test_safety_clock_watch.py::test_an_hour_without_synchronisation
 unit/test_runtime_clock.py::test_a_step_back_is_a_hold_that_ends_by_itself
 flow/test_clock.py::test_a_clock_that_is_lost_steps_and_comes_back
 unit/test_disk_watch.py::test_a_hold_is_recorded_once_with_its_end
 flow/test_disk_full.py::test_a_nearly_full_disk_holds_and_lets_go
 open: no update exists here; its cause, words and matrix row do
S1.19 The first button edge shuts the gate at once
 unit/test_guard_kill_switch.py::test_the_first_open_reading_trips_without_debounce
 unit/test_guard_machine.py::test_a_press_shuts_the_gate_in_the_same_pass
 flow/test_guard_process.py::test_button_arm_and_restart
S1.20 The first button edge starts cancelling at once
 flow/test_safety_loop.py::test_a_trip_restarts_the_sweep_before_anything_else_is_looked_at
 flow/test_appliance.py::test_from_the_button_to_flat_and_back
S1.21 Liquidation starts when the line has read open for 20 ms; a spike never sells
 unit/test_guard_kill_switch.py::test_liquidation_needs_20_ms_of_open_level
 unit/test_safety_constants.py::test_the_times_of_button_and_key
 unit/test_guard_machine.py::test_a_glitch_trips_and_does_not_liquidate
 unit/test_safety_sequences.py::test_the_liquidation_of_an_earlier_press_is_not_that_of_a_spike
 unit/test_safety_sequences.py::test_a_spike_after_a_step_back_sells_nothing_over_a_restart
S1.22 A liquidation once begun goes on through later trips and restarts of the core
 unit/test_safety_sequences.py::test_a_later_trip_does_not_stop_a_liquidation
 unit/test_safety_sequences.py::test_a_core_restarted_in_mid_liquidation_goes_on
 flow/test_appliance.py::test_a_core_killed_while_tripped_stays_tripped
S1.23 Every boot starts in PAUSED, or tripped if the latch says so
 unit/test_safety_sequences.py::test_a_new_boot_starts_in_paused_or_tripped
 unit/test_safety_sequences.py::test_a_mode_of_another_boot_is_not_kept_though_its_numbers_agree
 unit/test_safety_sequences.py::test_a_box_without_a_page_starts_in_paused
S1.24 A restart of the guard is a boot: shut, and nothing is liquidated
 unit/test_guard_machine.py::test_every_start_is_shut
 unit/test_guard_sequences.py::test_a_restarted_guard_needs_everything_again
 flow/test_appliance.py::test_the_guard_restarted_means_paused_and_no_liquidation
S1.25 A restart of the core alone keeps the mode if the arm epoch is unchanged
 unit/test_safety_controller.py::test_a_restarted_core_keeps_its_mode_only_in_the_same_arm_epoch
 unit/test_safety_sequences.py::test_a_restart_while_armed_keeps_normal_only_if_the_log_says_normal
 flow/test_appliance.py::test_a_killed_core_comes_back_with_the_venues_truth
S1.26 The account's loss limits trip the box
 flow/test_losses.py::test_an_account_limit_trips_the_box
 flow/test_appliance.py::test_a_synthetic_gap_trips_the_account
S1.27 An allocation's limit stops that strategy, latched and worked down, and leaves the others
 flow/test_losses.py::test_an_allocation_limit_stops_that_strategy_and_leaves_the_others
S1.28 The guard lost for more than 2 s trips
 unit/test_safety_controller.py::test_a_silent_guard_is_a_hold_then_a_trip
S1.29 A failed audit store trips
 flow/test_core_exits.py::test_an_exit_leaves_although_the_log_is_lost_and_new_exposure_does_not
 unit/test_disk_watch.py::test_the_reserve_in_use_trips_and_holds
S1.30 A position that disagrees with the venue trips
 flow/test_core_exits.py::test_a_venue_that_disagrees_trips
 flow/test_safety_loop.py::test_an_account_that_disagrees_trips_and_is_not_reconciled
S1.31 A core invariant trips, before the process ends
 unit/test_core_ends.py::test_a_bug_trips_before_the_process_ends
S1.32 Data integrity trips; a clock hold unresolved for 1 h trips
 unit/test_safety_clock_watch.py::test_the_table_is_literally_this
 unit/test_safety_clock_watch.py::test_an_hour_held_is_the_trip
 unit/test_safety_clock_watch.py::test_a_restarted_core_leaves_no_hold_behind
 unit/test_runtime_clock.py::test_an_unresolved_hold_trips_once_and_liquidates_nothing
 property/test_clock_properties.py::test_the_watch_is_the_rule
 flow/test_clock.py::test_a_clock_that_is_lost_steps_and_comes_back
 unit/test_safety_refusals.py::test_ten_of_a_hundred_is_the_last_allowed_share
 unit/test_runtime_history.py::test_a_changed_file_is_named
 unit/test_runtime_history.py::test_rows_and_fills_tell_the_same
 unit/test_runtime_history.py::test_the_log_remembers_the_files_a_run_was_last_replayed_from
 flow/test_feed_safety.py::test_a_source_full_of_nonsense_trips
 flow/test_owed_to_the_log.py::test_a_log_that_does_not_verify_trips_and_nobody_arms
 flow/test_owed_to_the_log.py::test_a_run_resumed_on_other_prices_trips_once
S2.1 REDUCE is at most the confirmed position less working reduces; not provably smaller is INCREASE
 unit/test_risk_exits.py::test_an_exit_never_crosses_zero
 unit/test_risk_exits.py::test_working_exits_are_counted
 property/test_core_two_sided.py::test_never_lets_danger_through_and_never_traps_an_exit
S2.2 PROTECTIVE is a stop attached to a position, and no more than it
 unit/test_risk_exits.py::test_a_protective_stop_is_put_on_a_tick
 unit/test_risk_exits.py::test_the_protective_leg_does_not_use_up_the_exit
 unit/test_risk_matrix.py::test_a_stop_larger_than_the_position_is_not_protective
S2.3 CANCEL passes in every mode, hold and trip, with any input missing
 flow/test_breaker_venue.py::test_an_emergency_cancels_and_sells_through_open_breakers
 unit/test_risk_matrix.py::test_cell
 flow/test_before_sending.py::test_a_cancel_passes_with_everything_wrong_at_once
 unit/test_risk_matrix.py::test_an_unconfigured_instrument_is_denied_and_a_cancel_of_it_is_not
 property/test_clock_properties.py::test_no_clock_costs_an_exit_and_a_held_one_lets_no_entry_through
S2.4 The message budget of CANCEL and REDUCE is reserved
 unit/test_risk_pace.py::test_a_share_is_kept_for_exits
 unit/test_risk_pace.py::test_an_exhausted_throttle_stops_no_exit
S2.5 REDUCE passes in all four modes, in every hold and trip
 flow/test_breaker_venue.py::test_a_venue_that_loses_orders_gets_no_new_exposure_and_every_exit
 unit/test_risk_matrix.py::test_cell
 property/test_core_two_sided.py::test_never_lets_danger_through_and_never_traps_an_exit
 property/test_clock_properties.py::test_no_clock_costs_an_exit_and_a_held_one_lets_no_entry_through
 property/test_execution_properties.py::test_a_close_is_never_stopped
S2.6 REDUCE without a largest size is sliced, not blocked
 unit/test_risk_exits.py::test_without_limits_a_quarter_leaves_at_a_time
 unit/test_risk_exits.py::test_larger_than_the_largest_order_is_sliced
S2.7 REDUCE without a fresh price: last good price with a widening collar, then a flagged market order
 unit/test_risk_exits.py::test_without_a_fresh_price_the_collar_widens_with_age
 unit/test_risk_exits.py::test_after_the_fallback_time_the_venues_market_order_is_used
S2.8 REDUCE is exempt from stop, bias and breaker
 flow/test_breaker_venue.py::test_what_exits_need_to_know_passes_open_breakers
 unit/test_risk_breaker.py::test_an_exempt_call_is_never_refused
 property/test_breaker_properties.py::test_an_exit_is_never_refused_by_gate_or_door
 flow/test_breaker_venue.py::test_a_venue_that_loses_orders_gets_no_new_exposure_and_every_exit
 flow/test_before_sending.py::test_an_exit_needs_no_stop
 unit/test_validation_signals.py::test_a_close_gets_out_unless_nobody_knows_whose_it_is
 unit/test_risk_matrix.py::test_cell
S2.9 REDUCE is never exempt from zero crossing, price sanity and being recorded
 unit/test_risk_exits.py::test_an_exit_never_crosses_zero
 unit/test_risk_exits.py::test_an_absurd_price_is_moved_to_the_collar
 flow/test_before_sending.py::test_an_exit_is_recorded_before_it_is_sent
S2.10 INCREASE passes only in NORMAL, without trip or hold, with every input present
 unit/test_risk_matrix.py::test_cell
 unit/test_risk_matrix.py::test_with_nothing_standing_every_class_passes
S2.11 Anything missing is its own denial code
 unit/test_risk_matrix.py::test_cell
 unit/test_risk_matrix.py::test_every_condition_of_the_table_is_driven_here
S2.12 An order without a stop gets its source's configured one, at a bounded distance, held by the venue
 unit/test_risk_entries.py::test_the_sources_own_stop_is_attached
 unit/test_risk_entries.py::test_stop_side_and_distance_of_a_buy
 unit/test_venues_paper.py::test_an_attached_stop_grows_with_its_entry
S2.13 Without a configured stop it is denied
 unit/test_risk_entries.py::test_without_any_stop_the_order_is_denied
S2.14 The matrix is literal, and every cell is tested
 unit/test_risk_matrix.py::test_the_table_is_the_one_of_safety_2
 unit/test_risk_matrix.py::test_cell
S3.1 Two pages, one writer each
 unit/test_guard_link.py::test_the_core_cannot_write_the_guards_page
 flow/test_guard_process.py::test_a_second_guard_refuses
 faults/test_bad_input.py::test_a_second_instance_is_refused
S3.2 Pages are opened in place, never truncated, unlinked or renamed while mapped
 unit/test_guard_link.py::test_existing_pages_are_opened_in_place
 unit/test_guard_link.py::test_nothing_in_the_project_truncates_unlinks_or_renames_a_page
 unit/test_guard_link.py::test_the_pages_outlive_their_writers
S3.3 A page of another layout or boot is absent
 unit/test_guard_link.py::test_a_page_of_another_boot_or_layout_is_absent
 unit/test_guard_machine.py::test_a_page_of_another_boot_counts_as_no_core
S3.4 The core looks at the inode on its 100 ms tick and maps again; a file of another size never
 unit/test_guard_link.py::test_a_re_created_page_is_mapped_at_the_next_look
 unit/test_guard_link.py::test_a_page_replaced_in_one_step_is_noticed
 unit/test_guard_link.py::test_the_file_is_looked_at_every_100_ms_and_not_more_often
 unit/test_guard_link.py::test_a_page_of_another_size_is_never_mapped
S3.5 Independent aligned 8-byte words, no seqlock
 unit/test_guard_link.py::test_words_are_aligned_and_read_as_one
S3.6 Open only if the armed epoch equals the trip epoch and the complement agrees
 unit/test_safety_sequences.py::test_the_page_is_open_only_if_three_words_agree
S3.7 A mismatch denies that order, and becomes a hold if it persists
 unit/test_safety_controller.py::test_a_mismatch_that_lasts_becomes_a_hold
S3.8 Either side shuts the gate; clearing needs both
 unit/test_risk_matrix.py::test_either_side_alone_shuts_the_gate
 unit/test_safety_controller.py::test_an_arming_nobody_permitted_is_not_followed
S3.9 A trip of the core shuts its own latch at once and writes a request
 unit/test_safety_controller.py::test_the_cores_own_trip_shuts_at_once_and_asks_the_guard
 unit/test_guard_link.py::test_every_request_reaches_the_guard_in_its_order
S3.10 The guard adopts it, orders it among its own and persists it
 unit/test_guard_machine.py::test_a_trip_of_the_core_is_adopted_once
 flow/test_guard_process.py::test_a_trip_of_the_core_is_persisted_by_the_guard
S3.11 With no guard the core persists its own
 flow/test_safety_loop.py::test_with_no_guard_the_core_persists_its_own_trip
 unit/test_safety_sequences.py::test_a_trip_of_our_own_that_nobody_adopts_is_ours_to_persist
 unit/test_guard_link.py::test_a_request_without_a_guard_waits_on_the_page
S3.12 The loop that reads the lines writes the heartbeat, every 20 ms
 flow/test_guard_process.py::test_the_loop_beats_every_20_ms
 flow/test_guard_process.py::test_a_frozen_driver_stops_the_heartbeat
 unit/test_guard_lights.py::test_the_heartbeat_is_written_after_the_lines_were_read
S3.13 That loop never touches disk, journal or a slow driver
 unit/test_guard_lights.py::test_the_loop_touches_no_disk_no_journal_and_no_lamp
 unit/test_guard_lights.py::test_an_led_driver_that_hangs_does_not_delay_a_trip
 unit/test_guard_lights.py::test_a_disk_that_hangs_does_not_delay_a_trip
S3.14 A heartbeat older than 250 ms is a hold
 unit/test_safety_constants.py::test_the_heartbeat_limits
 unit/test_safety_controller.py::test_a_silent_guard_is_a_hold_then_a_trip
 unit/test_safety_sequences.py::test_a_heartbeat_is_fresh_for_250_ms_and_never_from_the_future
S3.15 A heartbeat older than 2 s is a trip to PAUSED, also where the page was never there
 unit/test_safety_constants.py::test_the_heartbeat_limits
 unit/test_safety_controller.py::test_a_silent_guard_is_a_hold_then_a_trip
 unit/test_safety_controller.py::test_a_missing_page_is_a_silent_guard
S3.16 Heartbeats and deadlines use the real CLOCK_MONOTONIC, in a replay too
 flow/test_safety_loop.py::test_the_clock_precondition_of_a_replay_is_the_replay_clock
S3.17 The guard asks for SCHED_FIFO, mlockall and OOMScoreAdjust −1000, and says what it did not get
 flow/test_guard_process.py::test_priority_and_locked_memory_are_what_the_system_granted
 rules/test_rules_units.py::test_the_guard_gets_what_it_asks_for
S3.18 The guard imports the standard library and its named pin driver only
 rules/test_rules_imports.py::test_the_guard_depends_on_the_standard_library_and_its_named_driver_only
 rules/test_rules_imports.py::test_guard_and_core_share_only_the_pages
S3.19 Core unit: Wants= and After= the guard, never Requires; WatchdogSec at most 5 s
 rules/test_rules_units.py::test_the_core_wants_the_guard_and_never_requires_it
S3.20 SIGTERM in EMERGENCY finishes cancelling first
 flow/test_safety_loop.py::test_a_stop_sees_the_cancels_through
 flow/test_safety_loop.py::test_a_stop_keeps_trying_through_an_outage_and_gives_up_at_its_limit
 unit/test_core_ends.py::test_a_stop_while_tripped_sees_the_cancels_through
 rules/test_rules_units.py::test_the_core_wants_the_guard_and_never_requires_it
S3.21 Gate, orders, audit and guard link are deadly loops; web, upstream and learning degrade
 unit/test_core_ends.py::test_a_deadly_loop_that_returns_ends_the_core
 unit/test_core_ends.py::test_a_page_that_fails_is_survived
 faults/test_bad_input.py::test_a_dead_collector_costs_the_co_signature_and_nothing_else
S3.22 A venue that hangs stops neither mode nor heartbeat of the core
 flow/test_safety_loop.py::test_a_venue_that_never_answers_stops_neither_mode_nor_heartbeat
 flow/test_safety_loop.py::test_an_idle_core_follows_a_press_without_waiting_for_its_round
S3.23 Core stopped, hung or gone while tripped: a cancel-only unit cancels, press → all cancelled ≤ 10 s
 flow/test_cancel_only.py::test_a_stopped_core_cannot_keep_orders_open
 flow/test_cancel_only.py::test_guard_and_core_both_dead
S4.1 Approved carries class, latch epoch and a deadline of at most 250 ms
 unit/test_risk_entries.py::test_an_approval_carries_epoch_and_deadline
 unit/test_safety_constants.py::test_the_times_of_the_door
S4.2 The connector checks all three again after it has the connection and before it writes
 flow/test_wire_door.py::test_the_second_look
 flow/test_wire_door.py::test_nothing_leaves_after_the_latch_is_set
 flow/test_wire_door.py::test_without_the_second_look_the_queue_would_leave
S4.3 Orders are stamped there with the venue's shortest validity window
 flow/test_wire_door.py::test_an_order_outside_its_validity_window_is_refused
S4.4 The sweep repeats until window and margin have passed and the venue confirms zero open orders
 flow/test_core_exits.py::test_a_sweep_is_confirmed_only_after_the_window_and_by_the_venue
 flow/test_core_exits.py::test_an_order_that_arrives_late_is_found_and_cancelled
 flow/test_core_exits.py::test_an_order_nobody_here_knows_is_cancelled_too
 flow/test_safety_loop.py::test_a_trip_restarts_the_sweep_before_anything_else_is_looked_at
S4.5 An order is never posted again
 flow/test_before_sending.py::test_an_order_is_never_posted_twice_by_the_connection
 flow/test_appliance.py::test_a_killed_core_comes_back_with_the_venues_truth
 flow/test_execution_crash.py::test_a_crash_between_record_and_answer_is_looked_up_and_not_sent_again
 faults/test_crash_matrix.py::test_whenever_the_core_dies_the_log_and_the_venue_agree_afterwards
 faults/test_crash_runs.py::test_killed_cores_leave_a_log_that_equals_the_venue
S4.6 An unknown fate is looked up by id; "not found" counts only after window and margin
 flow/test_core_exits.py::test_an_unknown_fate_is_looked_up_and_never_sent_again
 flow/test_core_exits.py::test_not_found_is_not_believed_before_the_window_has_passed
 unit/test_orders_lifecycle.py::test_not_found_counts_only_after_window_and_margin
 flow/test_core_exits.py::test_a_venue_that_does_not_answer_is_asked_once_and_every_fate_stays_open
S4.7 Venue ids have at most 36 characters and map to one wish for ever
 unit/test_domain_ids.py::test_it_fits_every_venue
 unit/test_domain_ids.py::test_fields_are_framed
 unit/test_orders_lifecycle.py::test_the_id_ledger_never_forgets
S5.1 What is stored is armed: epoch, boot, board, card, and nothing but this box's own record counts
 unit/test_guard_latch.py::test_a_record_survives_its_encoding
 unit/test_guard_latch.py::test_one_flipped_bit_never_leaves_a_valid_record
 unit/test_guard_latch.py::test_store_and_remove
S5.2 A record of another boot is not armed in this boot: PAUSED
 unit/test_guard_latch.py::test_what_a_start_makes_of_a_record
 unit/test_safety_sequences.py::test_a_new_boot_starts_in_paused_or_tripped
S5.3 An absent or unparsable record is NEVER_ARMED: tripped
 unit/test_guard_latch.py::test_what_a_start_makes_of_a_record
 unit/test_guard_latch.py::test_a_crash_before_the_rename_leaves_the_box_tripped
S5.4 A record of another board or card is FOREIGN_CARD: tripped
 unit/test_guard_latch.py::test_what_a_start_makes_of_a_record
S5.5 A trip writes the page word before anything else
 unit/test_guard_sequences.py::test_the_page_word_comes_before_the_disk_job
S5.6 "Stored" comes after the record was removed and the directory synced, by the helper thread
 unit/test_guard_sequences.py::test_stored_is_said_only_after_the_directory_was_synced
 unit/test_guard_sequences.py::test_a_removal_that_fails_is_tried_until_it_works_and_nothing_arms_after
 unit/test_guard_lights.py::test_a_disk_that_hangs_does_not_delay_a_trip
S5.7 The lights say "tripped, not yet stored" at once and "tripped, stored" afterwards
 unit/test_guard_machine.py::test_lights_tell_stored_from_not_yet_stored
 unit/test_guard_lights.py::test_green_needs_an_open_gate_a_live_core_and_no_trip
S5.8 Every crash point of arming and tripping leaves a box that is shut
 unit/test_guard_sequences.py::test_every_crash_point_of_the_latch_is_shut
 unit/test_guard_lights.py::test_an_armed_record_behind_a_trip_is_removed_again
 unit/test_guard_machine.py::test_arming_needs_proof_permit_and_a_durable_record
 unit/test_guard_machine.py::test_a_press_while_the_record_is_being_stored_wins
 open: cuts of a real disk are in tests/vm, which no lane of CI runs
S6.1 The key is a normally-open contact to ground on BCM 27
 unit/test_guard_lights.py::test_lines_and_lamps_are_where_the_wiring_says
 contract/test_board_contract.py::test_levels_follow_the_contact
S6.2 An arm press: open ≥ 1 s, a new close of 3–10 s, release
 unit/test_guard_arm_key.py::test_timing_of_an_arm_press
 unit/test_guard_arm_key.py::test_a_key_found_turned_at_start_never_arms
 unit/test_safety_constants.py::test_the_times_of_button_and_key
 unit/test_guard_sequences.py::test_only_an_arm_press_of_the_right_length_arms
 unit/test_guard_sequences.py::test_a_key_that_is_turned_at_the_start_never_arms
S6.3 One step per arm press: EMERGENCY → REDUCED (skipped when flat) → PAUSED → NORMAL
 unit/test_safety_controller.py::test_the_way_from_the_button_to_normal
 unit/test_safety_controller.py::test_with_positions_the_way_leads_through_reduced
 unit/test_safety_sequences.py::test_one_step_per_press_however_many_are_found
 unit/test_safety_sequences.py::test_no_permit_outside_paused
S6.4 Each arm needs the button seen to open and close since the last boot or trip
 unit/test_guard_machine.py::test_without_the_proof_test_nothing_arms
 unit/test_guard_sequences.py::test_a_proof_test_before_a_trip_does_not_count_after_it
 unit/test_guard_sequences.py::test_noise_on_a_welded_contact_is_no_proof
 unit/test_guard_sequences.py::test_a_restarted_guard_needs_everything_again
S6.5 The guard clears only on the arm press and a permit naming this trip epoch
 unit/test_guard_machine.py::test_without_the_cores_permit_a_press_is_only_a_step
 unit/test_guard_sequences.py::test_a_permit_of_any_other_epoch_does_not_arm
 unit/test_guard_sequences.py::test_the_permit_of_a_core_that_is_gone_does_not_arm
 unit/test_guard_sequences.py::test_no_sequence_opens_the_gate_without_all_of_it
S6.6 The core permits only reconciled, cancels confirmed, flat or position accepted
 unit/test_safety_controller.py::test_no_permit_without_every_precondition
 unit/test_safety_constants.py::test_what_leaving_a_mode_needs_is_literally_this
 unit/test_safety_controller.py::test_a_press_without_its_preconditions_takes_no_step
 unit/test_safety_sequences.py::test_no_permit_out_of_an_epoch_in_the_look_that_finds_it
 flow/test_safety_loop.py::test_an_account_that_disagrees_trips_and_is_not_reconciled
S6.7 Any press of the button restarts it
 unit/test_guard_arm_key.py::test_a_button_press_restarts_the_sequence
 unit/test_guard_sequences.py::test_the_button_in_the_middle_of_an_arm_press_starts_it_again
 unit/test_safety_sequences.py::test_an_arm_press_found_together_with_a_trip_is_void
S6.8 After a drawdown trip, resetting the peak is a separate, signed, audited act, and arms nothing
 unit/test_guard_operator_command.py::test_a_command_is_for_the_purpose_of_its_challenge_and_no_other
 unit/test_guard_operator_command.py::test_a_reset_is_bound_to_its_moment_as_an_arming_is
 unit/test_guard_operator_machine.py::test_a_reset_of_the_peak_is_counted_and_arms_nothing
 unit/test_guard_operator_command.py::test_a_start_is_for_the_source_it_was_signed_for
 unit/test_guard_operator_machine.py::test_a_press_in_the_same_pass_voids_a_reset
 unit/test_guard_operator_machine.py::test_a_start_of_a_source_is_counted_with_whom_it_is_about_and_arms_nothing
 flow/test_source_start_box.py::test_a_source_that_trades_too_often_starts_again_on_a_whole_appliance
 unit/test_recovery_config.py::test_the_key_signs_what_its_holder_asked_for
 flow/test_peak_reset.py::test_from_a_synthetic_gap_over_the_reset_to_all_of_the_limits
 flow/test_peak_reset.py::test_strategies_keep_their_peaks_and_the_stopped_stays_stopped
 flow/test_peak_reset.py::test_each_condition_refuses_by_its_name
 flow/test_peak_reset.py::test_it_waits_for_what_the_venue_still_has_to_confirm
 flow/test_peak_reset.py::test_a_trip_found_with_the_command_or_behind_it_voids_it
 flow/test_peak_reset.py::test_a_venue_that_does_not_confirm_in_time_lets_it_lapse
 flow/test_peak_reset.py::test_the_peak_moves_only_after_its_entry_is_durable
 flow/test_peak_reset.py::test_after_a_reboot_the_loss_itself_stands_for_the_forgotten_trip
 flow/test_peak_reset_box.py::test_the_operators_way_back_on_a_whole_appliance
 property/test_recovery_properties.py::test_no_sequence_of_resets_presses_and_trips_opens_anything
 property/test_recovery_properties.py::test_a_restart_comes_to_the_same_peak
 property/test_recovery_properties.py::test_a_restart_finds_the_peak_of_a_source_that_was_started_again
 flow/test_peak_reset.py::test_an_account_that_is_not_of_this_moment_decides_nothing
 flow/test_peak_reset.py::test_a_page_that_is_gone_carries_no_command_and_voids_the_one_that_waits
S6.9 A simulated board is paper-venue only: a live venue with one refuses to start, exit 78
 faults/test_bad_input.py::test_a_wrong_configuration_is_refused
 open: no live venue exists in 0.1.0; any venue.kind but paper is exit 78, and the page says which board it is
S6.10 In a replay the clock precondition is "replay clock"
 flow/test_safety_loop.py::test_the_clock_precondition_of_a_replay_is_the_replay_clock
 unit/test_runtime_clock.py::test_in_a_replay_the_log_hears_of_steps_and_nothing_is_held
 unit/test_runtime_clock.py::test_auto_is_live_only_and_system_is_always
S6.11 The quick start performs and prints the arm presses itself
 flow/test_appliance.py::test_from_the_button_to_flat_and_back
S6.12 A trip stops the replay clock; page and terminal show the reason and what arms it
 flow/test_feed_safety.py::test_a_trip_stops_the_replay_clock
 flow/test_appliance.py::test_from_the_button_to_flat_and_back
 unit/test_web_view.py::test_a_trip_says_why_since_when_and_how_to_recover
S6.13 --unattended goes on with the gate shut and counts denials
 flow/test_feed_safety.py::test_unattended_goes_on_with_the_gate_shut
 faults/test_bad_input.py::test_without_a_guard_the_core_says_so
S7.1 Only instruments on the allow-list are liquidated
 flow/test_exit_legs.py::test_only_what_is_configured_is_ever_liquidated
S7.2 At most the net quantity that came from fills through the appliance
 flow/test_exit_legs.py::test_liquidation_never_sends_more_than_came_from_fills
 flow/test_exits_of_several.py::test_an_account_whose_sources_hold_both_sides_is_liquidated
 flow/test_exits_of_several.py::test_an_exit_of_another_that_rests_cannot_keep_a_liquidation_away
S7.3 Capped by the venue's free plus cancelled-locked balance
 flow/test_exit_legs.py::test_liquidation_at_the_venue_cannot_cross_zero
 open: the paper venue has no free or locked balance; there reduce-only is the cap. A live venue needs its own
S7.4 Flat is every remainder below the venue's minimum, listed as dust, and said after the venue's fills only
 flow/test_core_exits.py::test_dust_is_left_alone
 flow/test_exit_legs.py::test_dust_is_listed
 flow/test_safety_loop.py::test_an_emergency_ends_flat_and_says_so_once
 flow/test_core_exits.py::test_liquidation_cancels_the_leg_and_sells_what_is_held
S7.5 Never a request storm
 flow/test_core_exits.py::test_an_exit_is_not_sent_twice
 flow/test_exit_legs.py::test_a_refused_exit_is_no_request_storm
 flow/test_exit_legs.py::test_a_venue_that_keeps_the_leg_is_no_request_storm
 flow/test_safety_loop.py::test_look_ups_are_bounded
 flow/test_exit_legs.py::test_a_thin_book_gets_one_slice_at_a_time_and_no_pause
S7.6 Entries are cancelled first
 flow/test_safety_loop.py::test_cancels_go_before_exits
S7.7 A protective leg is cancelled only immediately before its replacement exit
 flow/test_exit_legs.py::test_a_leg_is_cancelled_immediately_before_its_exit
 flow/test_exit_legs.py::test_reduced_leaves_the_rest_behind_its_stop
 flow/test_exit_legs.py::test_a_sliced_exit_leaves_the_rest_behind_its_stop
 flow/test_exit_legs.py::test_slices_of_a_liquidation_leave_side_by_side
S7.8 It is put back if that exit is refused, or ends without having sold
 flow/test_core_exits.py::test_the_leg_is_put_back_if_its_exit_is_refused
 flow/test_exit_legs.py::test_an_exit_that_never_arrived_gives_the_leg_back
 flow/test_exit_legs.py::test_an_exit_the_venue_ended_unfilled_gives_the_leg_back
 flow/test_exit_legs.py::test_an_exit_filled_in_part_gives_back_what_it_left
 flow/test_exit_legs.py::test_one_of_two_legs_let_go_is_put_back_while_the_other_stays
 flow/test_exit_legs.py::test_a_slice_that_gets_lost_is_the_last_of_its_round
S7.9 Dead-man timer or venue-held stops, never a timer that can strip a protective leg
 open: no dead-man timer exists; stops are held by the (paper) venue
S7.10 An exit goes inside the collar first, then wider, at last to any price
 flow/test_core_exits.py::test_what_does_not_sell_inside_the_collar_goes_wider_and_at_last_to_any_price
 flow/test_core_exits.py::test_a_new_trip_begins_inside_the_collar_again
 flow/test_exit_legs.py::test_a_round_that_sold_less_than_its_first_slice_waits_and_goes_wider
S8.1 Durable-before-send binds what may increase exposure
 flow/test_before_sending.py::test_new_exposure_waits_until_it_is_durable
 flow/test_disk_orders.py::test_an_entry_recorded_on_the_reserve_never_leaves
S8.2 CANCEL and exits wait at most 50 ms for the log, then go
 flow/test_before_sending.py::test_an_exit_waits_50_ms_for_the_log_and_then_goes
 flow/test_core_exits.py::test_an_exit_leaves_although_the_log_is_lost_and_new_exposure_does_not
S8.3 With the record in a pre-allocated ring in /run and a GAP entry owed
 flow/test_core_exits.py::test_an_exit_leaves_although_the_log_is_slow_and_owes_a_gap
 flow/test_owed_to_the_log.py::test_each_act_is_repaid_once_over_restarts
 faults/test_crash_matrix.py::test_an_exit_that_left_before_its_record_was_durable_is_owed_and_found
S8.4 A store error or exit 78 while tripped or with open orders first runs the cancel-only path
 unit/test_core_ends.py::test_a_lost_log_cancels_before_the_process_ends
 open: after exit 78 with the gate open the cancel-only process waits 30 s (D35); tested on its pure part
S8.5 After an fsync error no arming until reboot and a full verify
 unit/test_guard_machine.py::test_a_failed_disk_refuses_to_arm
 unit/test_guard_sequences.py::test_a_failed_disk_is_remembered_over_a_restart_of_the_guard
 unit/test_guard_link.py::test_a_failed_store_is_remembered_until_the_machine_restarts
 flow/test_storage_log_client.py::test_a_disk_error_in_the_writer_is_reported_with_its_cause
 flow/test_safety_loop.py::test_a_store_that_failed_keeps_the_box_from_being_armed
 flow/test_owed_to_the_log.py::test_a_log_that_did_not_end_with_a_stop_is_read_whole
 flow/test_owed_to_the_log.py::test_a_log_that_does_not_verify_trips_and_nobody_arms
 unit/test_runtime_history.py::test_a_stop_before_the_log_was_read_whole_is_no_good_end
S8.6 A reserve of disk space only exits may use is pre-allocated
 unit/test_storage_reserve.py::test_a_reserve_is_blocks_and_not_a_promise
 unit/test_storage_reserve.py::test_it_is_given_back_once_and_can_be_made_again
 unit/test_storage_reserve.py::test_a_reserve_that_cannot_be_made_is_said_and_raises_nothing
 faults/test_disk_full_log.py::test_freeing_the_reserve_lets_the_commit_pass_that_found_no_space
 faults/test_disk_full_log.py::test_when_the_reserve_is_used_up_too_the_log_fails_as_it_always_did
 faults/test_disk_full_log.py::test_a_start_on_a_full_disk_uses_the_reserve_and_says_so
 faults/test_disk_full_log.py::test_no_room_for_a_reserve_is_said_and_made_good
 faults/test_disk_full_log.py::test_what_was_used_is_made_again_and_used_again
 flow/test_disk_orders.py::test_an_entry_recorded_on_the_reserve_never_leaves
 flow/test_disk_orders.py::test_a_signal_to_enter_is_counted_and_a_signal_to_leave_is_followed
 flow/test_disk_orders.py::test_nobody_arms_without_the_reserve
 unit/test_disk_watch.py::test_the_reserve_in_use_trips_and_holds
 unit/test_disk_watch.py::test_the_trip_shuts_the_gate_before_anything_else_is_done
 unit/test_disk_watch.py::test_it_is_asked_for_again_where_there_is_room
 unit/test_disk_watch.py::test_a_reserve_that_was_never_made_holds_and_trips_nothing
 unit/test_disk_watch.py::test_denials_are_counted_while_only_exits_may_write
 unit/test_disk_watch.py::test_the_desk_records_exits_whatever_the_disk_says
 unit/test_safety_disk.py::test_what_follows
 flow/test_disk_full.py::test_a_full_disk_trips_and_the_box_can_be_armed_again
 unit/test_disk_watch.py::test_a_denied_list_of_entries_is_counted_while_only_exits_may_be_recorded
S8.7 Quota: 80 % alerts, 95 % is a hold
 unit/test_safety_disk.py::test_each_level_begins_at_its_figure_and_ends_below_another
 unit/test_safety_disk.py::test_the_figures_are_those_of_the_design
 unit/test_safety_disk.py::test_what_follows
 unit/test_safety_disk.py::test_a_disk_that_does_not_answer_is_as_good_as_full
 unit/test_disk_watch.py::test_until_the_first_look_new_exposure_waits
 unit/test_disk_watch.py::test_a_hold_is_recorded_once_with_its_end
 unit/test_disk_watch.py::test_a_disk_that_stalls_stops_its_gauge_and_not_the_loop
 unit/test_disk_watch.py::test_the_gauge_counts_blocks_in_every_folder
 unit/test_alert_facts.py::test_the_disk_is_told_by_its_last_entry
 unit/test_web_metrics.py::test_the_disk_is_measured_in_bytes_and_states
 flow/test_disk_full.py::test_a_nearly_full_disk_holds_and_lets_go
 unit/test_runtime_retention.py::test_never_while_tripped_or_in_emergency_or_in_doubt
 unit/test_runtime_retention.py::test_pruning_ends_the_alert_and_without_a_co_signature_it_stays
S8.8 Denials beyond N/s of one bot become one counted entry a second and the session ends
 open: there are no bot sessions yet (gateway); the kind denied_count exists
S8.9 One store, one transaction, one fsync per group: entries and order rows; tree and checkpoint follow
 unit/test_storage_log_store.py::test_order_rows_are_of_the_same_transaction
 flow/test_core_exits.py::test_the_order_row_is_in_the_same_transaction_as_its_verdict
 unit/test_storage_log_store.py::test_seal_is_durable_before_signed_and_never_two_of_one_size
S8.10 The writer is a process of its own
 flow/test_storage_log_client.py::test_a_writer_that_dies_fails_every_pending_and_later_ticket
S8.11 msgspec writes the canonical bytes, rfc8785 checks them
 property/test_audit_properties.py::test_entries_are_what_rfc_8785_writes
S10.1 The core starts without time synchronisation, in hold
 unit/test_safety_clock_watch.py::test_a_start_without_synchronisation_is_held_from_the_start
 unit/test_runtime_clock.py::test_the_core_starts_unsynchronised_in_hold
 flow/test_clock.py::test_a_clock_that_is_lost_steps_and_comes_back
S10.2 Signed cancels and reduces use a venue-time offset
 open: the paper venue has GET /v1/time and signs nothing; for the first signed venue
S10.3 A backward step > 1 s, or unsynchronised > 1 h, is a hold that ends after 10 minutes synchronised
 unit/test_market_quality.py::test_after_a_clock_step_order_starts_again
 unit/test_safety_clock_watch.py::test_the_table_is_literally_this
 unit/test_safety_clock_watch.py::test_a_step_of_a_second
 unit/test_safety_clock_watch.py::test_an_hour_without_synchronisation
 unit/test_safety_clock_watch.py::test_it_ends_after_ten_minutes
 unit/test_safety_clock_watch.py::test_the_ten_minutes_begin_again
 unit/test_safety_clock_watch.py::test_a_step_while_no_core_ran_is_seen
 unit/test_safety_clock_watch.py::test_a_restarted_core_leaves_no_hold_behind
 unit/test_safety_clock_watch.py::test_every_step_is_told_in_either_direction
 unit/test_runtime_clock.py::test_what_the_kernel_says
 unit/test_runtime_clock.py::test_a_refused_call_is_not_synchronised_and_says_so
 unit/test_runtime_clock.py::test_a_step_back_is_a_hold_that_ends_by_itself
 unit/test_runtime_clock.py::test_in_a_replay_the_log_hears_of_steps_and_nothing_is_held
 unit/test_runtime_clock.py::test_the_log_remembers_over_a_restart
 property/test_clock_properties.py::test_the_watch_is_the_rule
 property/test_clock_properties.py::test_no_clock_costs_an_exit_and_a_held_one_lets_no_entry_through
 rules/test_rules_units.py::test_the_core_may_ask_for_the_clock_and_never_set_it
 flow/test_clock.py::test_a_clock_that_is_lost_steps_and_comes_back
S10.4 Cooldowns count CLOCK_BOOTTIME between durable heartbeats ≤ 60 s apart; time switched off never counts
 open: nothing has a cooldown before configuration sealing exists
S10.5 The firewall lets NTP and NTS to named servers out
 open: provisioning issue
S11.1 No steady light ever means healthy
 unit/test_guard_lights.py::test_no_steady_light_ever_means_healthy
 unit/test_web_lamps.py::test_steady_is_lit_and_off_is_dark
S11.2 Green is only a pulse from the heartbeat loop
 unit/test_guard_lights.py::test_green_goes_out_when_the_loop_stops
 unit/test_guard_lights.py::test_green_needs_an_open_gate_a_live_core_and_no_trip
S11.3 Without a guard the LEDs show the fault pattern
 unit/test_guard_lights.py::test_the_fault_pattern_is_left_behind_by_a_program_of_its_own
 unit/test_guard_lights.py::test_lamps_are_tested_at_the_start_then_follow_the_loop
 unit/test_guard_lights.py::test_a_guard_that_cannot_light_ends
 rules/test_rules_units.py::test_the_guard_gets_what_it_asks_for
S11.4 Provisioning sets dtparam=strict_gpiod and doctor checks it
 open: provisioning issue
S11.5 Every two states differ by position or rhythm, without colour
 unit/test_guard_lights.py::test_every_two_states_differ_by_position_or_rhythm
 unit/test_guard_lights.py::test_a_trip_is_red_and_nothing_else_is
 unit/test_guard_machine.py::test_lights_rows_differ_without_colour
S11.6 A core that hangs or dies is shown within 1 s
 unit/test_guard_machine.py::test_a_core_that_stopped_is_shown_within_one_second
 unit/test_safety_constants.py::test_a_lost_core_is_shown_inside_its_second
 unit/test_guard_lights.py::test_a_lost_core_is_yellow_fast_in_every_state
 flow/test_appliance.py::test_a_killed_core_comes_back_with_the_venues_truth
S12.1 Log, page and venue bind to loopback; nobody listens anywhere else
 flow/test_network_cannot_loosen.py::test_everybody_listens_on_loopback_only
S12.2 The owner's mirror gets entries; tiles only to loopback or authenticated auditors
 open: no mirror and no tile server exist; tiles are files
S12.3 Third-party witnesses get checkpoints and proofs only
 unit/test_upstream_witness.py::test_the_worked_request_is_read_and_written_byte_for_byte
 faults/test_upstream_client.py::test_checkpoints_are_offered_as_they_come
S12.4 The status page shows no live position and no P&L
 unit/test_web_page.py::test_no_word_of_position_or_profit_is_a_figure
 unit/test_web_metrics.py::test_no_series_tells_a_position_or_a_profit
 unit/test_web_contract.py::test_the_contract_of_the_page_names_no_position_and_no_profit
 unit/test_audit_chain_public.py::test_no_field_that_is_not_named_is_ever_drawn
 flow/test_web_decisions.py::test_decisions_are_for_this_machine_alone
C04.1 Nothing reachable over a network can loosen anything: no route, method or body
 flow/test_network_cannot_loosen.py::test_no_route_changes_anything_on_a_tripped_appliance
 flow/test_network_cannot_loosen.py::test_every_server_has_routes
C04.2 Not even a venue that turns hostile
 flow/test_network_cannot_loosen.py::test_a_hostile_venue_cannot_loosen_anything
C04.3 The guard has no network socket at all
 flow/test_network_cannot_loosen.py::test_everybody_listens_on_loopback_only
C04.4 Nothing arms again by itself; after an emergency the plan decides what new exposure gets (RSK-11, U02)
 unit/test_recovery_plan.py::test_the_plans_are_literally_these
 unit/test_recovery_plan.py::test_each_limit_at_its_share
 unit/test_recovery_plan.py::test_the_gate_opens_with_the_share_already_set
 flow/test_peak_reset.py::test_from_a_synthetic_gap_over_the_reset_to_all_of_the_limits
 property/test_recovery_properties.py::test_a_share_grows_by_a_persons_arming_or_by_time_and_by_no_restart
 property/test_recovery_properties.py::test_a_plan_never_lets_through_more_and_never_stops_an_exit
 property/test_recovery_properties.py::test_no_sequence_of_resets_presses_and_trips_opens_anything
C04.5 A recovery plan never touches an exit
 unit/test_recovery_plan.py::test_exits_are_never_asked
 property/test_recovery_properties.py::test_a_plan_never_lets_through_more_and_never_stops_an_exit
HW-01 No order may be submitted unless the safety system is up
 unit/test_risk_matrix.py::test_cell
 unit/test_risk_matrix.py::test_a_core_of_its_own_is_shut_until_somebody_arms
 faults/test_bad_input.py::test_without_a_guard_the_core_says_so
HW-02 Kill switch input BCM 17, by edge and by level (U01: cut, unplugged, pressed at boot trip)
 unit/test_guard_lights.py::test_lines_and_lamps_are_where_the_wiring_says
 unit/test_guard_sequences.py::test_a_button_open_or_unreadable_at_the_start_is_a_trip
 contract/test_board_contract.py::test_every_edge_is_reported_once_in_order
HW-03 Status LED green BCM 22
 unit/test_guard_lights.py::test_lines_and_lamps_are_where_the_wiring_says
 unit/test_guard_lights.py::test_no_steady_light_ever_means_healthy
HW-04 Status LED yellow BCM 23
 unit/test_guard_lights.py::test_lines_and_lamps_are_where_the_wiring_says
 unit/test_guard_lights.py::test_a_lost_core_is_yellow_fast_in_every_state
HW-05 Status LED red BCM 24
 unit/test_guard_lights.py::test_lines_and_lamps_are_where_the_wiring_says
 unit/test_guard_lights.py::test_a_trip_is_red_and_nothing_else_is
HW-06 Tamper detection: latched, open at start counts, reaction by configuration (U04)
 unit/test_guard_tamper.py::test_open_at_start_counts_once
 unit/test_guard_machine.py::test_tamper_reaction
 unit/test_guard_machine.py::test_an_open_case_at_start_counts
HW-07 Mode NORMAL: new exposure passes
 unit/test_risk_matrix.py::test_with_nothing_standing_every_class_passes
HW-08 Mode PAUSED: no new orders, existing protection maintained
 unit/test_risk_matrix.py::test_cell
 flow/test_core_exits.py::test_a_sweep_cancels_entries_and_keeps_the_protective_leg
HW-09 Mode REDUCED: gradual, reduce-only, on a configured schedule, the rest protected
 flow/test_core_exits.py::test_reduced_works_a_share_down_and_keeps_the_rest_protected_next_time
 flow/test_exit_legs.py::test_reduced_leaves_the_rest_behind_its_stop
HW-10 Mode EMERGENCY: cancels, then liquidates, and goes on through outages
 flow/test_safety_loop.py::test_cancels_go_before_exits
 flow/test_feed_safety.py::test_an_emergency_outlives_an_outage_of_the_venue
 flow/test_exit_legs.py::test_a_refusal_before_a_trip_does_not_delay_its_liquidation
 flow/test_feed_safety.py::test_a_venue_that_goes_away_does_not_end_the_core
HW-11 Mode switch in memory < 1 ms
 open: a figure, not a verdict: python -m tests.bench kill
HW-12 Audit write durable < 10 ms
 bench/test_storage_latency.py::test_it_measures
 open: the figure depends on the disk; it is measured and stated, native and with injected latency (SAFETY 13)
HW-13 The page reflects a change < 100 ms
 flow/test_web_browser.py::test_mode_changes_reach_the_screen
 flow/test_web_events.py::test_a_mode_change_is_pushed_and_not_waited_for
HW-14 Every manual intervention is logged: button, tamper, arm presses with what was missing
 unit/test_safety_sequences.py::test_two_reasons_in_every_order
 unit/test_safety_controller.py::test_a_press_without_its_preconditions_takes_no_step
HW-15 The trail is tamper-evident
 flow/test_appliance.py::test_the_log_shows_a_flipped_byte_by_its_place
HW-16 Real-time alerts on safety events
 flow/test_alerts.py::test_press_and_dead_core_reach_the_owner_the_page_and_metrics
HW-17 Compliance reporting from the trail
 open: later; the log has every limit and verdict, no report is made of them
HW-18 SystemMode projection (C03)
 unit/test_safety_sequences.py::test_the_three_modes_of_other_tools_are_a_projection
HW-19 A module for kill switch systems, apart from trading
 rules/test_rules_imports.py::test_guard_and_core_share_only_the_pages
HW-20 The kill switch is a member of its own: it works without a core
 unit/test_guard_sequences.py::test_a_guard_without_a_core_still_trips_and_stores
HW-21 Automatic kill switch: losses trip without a person
 flow/test_losses.py::test_an_account_limit_trips_the_box
 flow/test_appliance.py::test_a_synthetic_gap_trips_the_account
HW-22 It works when the trading code hangs or crashes
 unit/test_guard_sequences.py::test_a_guard_without_a_core_still_trips_and_stores
 flow/test_appliance.py::test_a_core_killed_while_tripped_stays_tripped
 flow/test_cancel_only.py::test_a_stopped_core_cannot_keep_orders_open
HW-23 Risk management reaches the kill switch: a limit of the core is adopted and persisted by the guard
 flow/test_guard_process.py::test_a_trip_of_the_core_is_persisted_by_the_guard
 flow/test_appliance.py::test_a_synthetic_gap_trips_the_account
HW-24 Graceful degradation: upstream, memory, page and feed fail alone
 faults/test_bad_input.py::test_a_dead_collector_costs_the_co_signature_and_nothing_else
 faults/test_memory_faults.py::test_a_damaged_file_degrades_memory_and_is_kept
 unit/test_core_ends.py::test_a_page_that_fails_is_survived
"""
"""One block per rule: `id sentence`, then indented its tests as `path::name`, and `open: why` for what they
do not show."""

RULES = read_rules(TABLE)


def table() -> str:
    """For people."""
    return tell_rules(RULES)


if __name__ == "__main__":
    import sys

    sys.stdout.write(table() + "\n")
