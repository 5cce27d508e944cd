"""Every requirement row of risk, breakers, orders, execution, fees and portfolio: what shows it, or why not.

    python -m tests.rules.order_rows

In the manner of `safety_rules`. `open` says what is left out or done otherwise, with its decision (D in
DECISIONS.md) or its reason; a row that is open without a test is not built. Speeds stand in tests/bench.
"""

from __future__ import annotations

from tests.rules.rule_table import Rule, read_rules, tell_rules

GROUPS = {"CB": 23, "RSK": 32, "ORD": 31, "EXE": 10, "FEE": 10, "PF": 7}
"""How many rows each group of the specification has."""

TABLE = """
CB-01 One breaker around every call of a component, with its outcome
 unit/test_risk_breaker.py::test_the_guard_records_how_the_call_ended
 unit/test_risk_breakers.py::test_every_component_has_its_own_breaker
CB-02 A refusal says what it is: open, no probe left, something it needs is open
 unit/test_risk_breaker.py::test_a_refused_call_does_not_begin
 unit/test_risk_breaker.py::test_its_own_cooldown_is_reported_before_what_it_needs
 open: too few calls are no error: they prove nothing and the breaker stays closed (P35, D58)
CB-03 A call costs at most 1 us at p99
 unit/test_risk_breaker.py::test_a_new_breaker_has_nothing_to_tell
 open: CPython has no atomics to pad: one thread owns a breaker; python -m tests.bench gate has the cost
CB-04 The global state is derived from the components'
 unit/test_risk_breakers.py::test_the_global_state_is_the_worst_of_what_new_exposure_depends_on
CB-05 Half open lets a number of probes through and no more
 unit/test_risk_breaker.py::test_no_more_probes_than_tokens
 unit/test_risk_breaker.py::test_a_call_of_which_nothing_is_known_returns_its_token_and_proves_nothing
CB-06 A sliding window of outcomes, by number and by age
 unit/test_risk_breaker.py::test_only_the_last_calls_count
 unit/test_risk_breaker.py::test_an_outcome_counts_up_to_the_windows_age
CB-07 A callback that fails breaks nothing
 unit/test_runtime_breakers.py::test_a_listener_that_raises_changes_nothing_and_is_reported
 unit/test_runtime_breakers.py::test_not_even_the_report_can_break_the_call
CB-08 A guard records the outcome however the call ends
 unit/test_risk_breaker.py::test_the_guard_records_how_the_call_ended
CB-09 The clock is passed in
 unit/test_risk_breaker.py::test_the_cooldown_runs_from_the_last_failure
CB-10 Settings
 unit/test_runtime_breakers.py::test_the_shipped_configuration
 open: not reloaded while it runs: a change is a start, and the log has the configuration's hash (C06)
CB-11 Tested to the last branch
 property/test_breaker_properties.py::test_the_state_follows_from_the_history
CB-12 A permission for each component, and why it is refused
 unit/test_risk_breakers.py::test_the_gate_denies_by_what_new_exposure_depends_on
CB-13 Failures by component, reset by itself, cascade, every change in the log
 unit/test_risk_breakers.py::test_the_cascade_is_the_one_of_the_design
 unit/test_runtime_breakers.py::test_every_change_is_an_entry
 flow/test_breaker_appliance.py::test_a_venue_that_ends_opens_the_breaker_and_one_that_is_back_closes_it
 open: no manual override: it heals by probes, and nobody forces new exposure through (D59)
CB-14 Nothing new passes an open breaker, and every exit does
 property/test_breaker_properties.py::test_an_exit_is_never_refused_by_gate_or_door
 flow/test_breaker_venue.py::test_an_emergency_cancels_and_sells_through_open_breakers
CB-15 Closed, open, half open
 unit/test_risk_breaker.py::test_the_table_is_total_and_the_one_of_the_design
CB-16 Counters
 unit/test_risk_breaker.py::test_counters
CB-17 Permission by state
 unit/test_risk_breaker.py::test_cell
 unit/test_risk_breakers.py::test_half_open_is_not_enough_for_what_is_needed
CB-18 Successes of probes close it, and it begins from zero
 unit/test_risk_breaker.py::test_as_many_successes_as_asked_for_close_it
 unit/test_risk_breaker.py::test_every_half_open_phase_begins_from_zero
CB-19 Failures above the allowed share open it
 unit/test_risk_breaker.py::test_it_opens_when_more_than_the_allowed_share_failed
 unit/test_risk_breaker.py::test_too_few_calls_prove_nothing
CB-20 Every outside call is behind one
 flow/test_breaker_venue.py::test_a_venue_that_loses_orders_gets_no_new_exposure_and_every_exit
 unit/test_runtime_breakers.py::test_an_upstream_that_cannot_be_reached_is_left_alone_for_a_while
 unit/test_runtime_breakers.py::test_memory_that_does_not_answer_is_not_asked_for_a_while
CB-21 Its transitions are a literal table
 unit/test_risk_breaker.py::test_the_table_is_total_and_the_one_of_the_design
CB-22 A call while open does not begin
 unit/test_risk_breaker.py::test_a_refused_call_does_not_begin
CB-23 Settings have bounds
 unit/test_risk_breaker.py::test_settings_have_bounds
 unit/test_runtime_breakers.py::test_a_setting_out_of_range_is_refused_by_name_and_line
RSK-01 Every order is judged before it leaves
 flow/test_dangerous_orders.py::test_a_dangerous_order_is_denied
 property/test_core_two_sided.py::test_never_lets_danger_through_and_never_traps_an_exit
 open: its speed line is in python -m tests.bench gate, and was not reached in CPython (C01)
RSK-02 More than 2 % of the portfolio in one position is denied
 unit/test_risk_whole.py::test_two_percent_is_the_last_allowed_value_long_and_short
RSK-03 No entry without a stop
 unit/test_risk_entries.py::test_without_any_stop_the_order_is_denied
RSK-04 Above 0.7 correlation is denied
 unit/test_portfolio_correlation.py::test_the_limit_is_the_last_allowed_value_in_either_direction
RSK-05 Above 15 % drawdown trips
 flow/test_losses.py::test_an_account_limit_trips_the_box
RSK-06 The cap counts shorts, what is held and what works
 unit/test_risk_whole.py::test_position_and_working_orders_count
 unit/test_risk_whole.py::test_a_short_is_valued_at_the_ask
RSK-07 A stop has a side and a largest distance
 unit/test_risk_entries.py::test_stop_side_and_distance_of_a_buy
 unit/test_risk_entries.py::test_stop_side_and_distance_of_a_short
RSK-08 Two that move together are not held in one direction
 unit/test_risk_whole.py::test_two_that_move_together_are_not_held_in_one_direction_and_hedges_pass
 unit/test_risk_whole.py::test_a_new_instrument_waits_while_anything_else_is_held
RSK-09 Drawdown of the account trips, of a source stops that source
 flow/test_losses.py::test_an_account_limit_trips_the_box
 flow/test_losses.py::test_an_allocation_limit_stops_that_strategy_and_leaves_the_others
RSK-10 The kill switch has several reasons
 unit/test_safety_sequences.py::test_a_reason_leads_to_its_mode_from_every_mode
RSK-11 Recovery plans standard and aggressive
 unit/test_recovery_plan.py::test_the_plans_are_literally_these
RSK-12 Controls in parallel
 open: they are arithmetic on memory; a thread for each would cost more than all of them (D78)
RSK-13 Benchmarks with 100,000 samples
 open: python -m tests.bench gate; a test does not depend on speed
RSK-14 One answer for wish, market and portfolio
 flow/test_risk_flow.py::test_a_signal_stands_in_the_log_with_its_advice
RSK-15 Cap, correlation, margin, liquidation price, stop
 unit/test_risk_margin.py::test_an_order_that_turns_a_position_is_judged_by_what_remains
 unit/test_risk_margin.py::test_a_stop_beyond_the_liquidation_price_is_denied
RSK-16 Nothing with the breaker open, nothing without a stop, everything logged
 unit/test_risk_breakers.py::test_the_gate_denies_by_what_new_exposure_depends_on
 flow/test_core_exits.py::test_a_denied_wish_is_logged_and_nothing_is_recorded_as_an_order
RSK-17 A denial has its numbers, and there is a suggested size
 unit/test_risk_entries.py::test_denials_tell_the_numbers_that_decided
 unit/test_risk_advice.py::test_every_limit_caps_the_size
 property/test_risk_properties.py::test_the_gate_never_finds_a_suggested_size_too_large
RSK-18 Correlation, margin, score, stop and take-profit can be asked for
 unit/test_risk_advice.py::test_advice_holds_everything_and_says_it_in_decimals
RSK-19 Liquidation price to 0.01 %, isolated and cross
 unit/test_risk_margin.py::test_published_examples_to_a_hundredth_of_a_percent
 property/test_risk_properties.py::test_a_liquidation_price_is_the_first_tick_that_is_not_solvent
RSK-20 Risk score
 unit/test_risk_advice.py::test_the_score_is_the_weighted_use_of_limits_rounded_up
RSK-21 Free margin of at least 110 %
 unit/test_risk_margin.py::test_free_margin_of_110_percent_passes_and_less_does_not
RSK-22 Limits, portfolio and breaker are what the gate is made of
 unit/test_runtime_risk_tables.py::test_no_limit_has_a_default
RSK-23 No way out of a judgement but a verdict
 unit/test_risk_entries.py::test_a_malformed_wish_is_denied
 open: 100 ns is less than two calls of Python (C01)
RSK-24 Value at risk
 open: of a later issue
RSK-25 Stress scenarios
 open: of a later issue
RSK-26 Concentration
 unit/test_portfolio_analysis.py::test_concentration_is_the_herfindahl_index_rounded_up
RSK-27 The day's loss is watched
 flow/test_losses.py::test_the_marks_of_a_days_loss_are_told_once_a_day
 unit/test_risk_pace.py::test_the_second_mark_of_the_days_loss_halves_every_limit
RSK-28 Risk is a package of its own
 rules/test_rules_imports.py::test_pure_layers_import_nothing_that_reads_a_clock_a_socket_or_a_file
RSK-29 Position sizing
 unit/test_risk_advice.py::test_fixed_fractional
RSK-30 Stop-loss proposals
 unit/test_risk_advice.py::test_levels_are_two_ranges_and_twice_that
RSK-31 Take-profit proposals
 unit/test_risk_advice.py::test_levels_are_two_ranges_and_twice_that
RSK-32 Entry and exit signals
 contract/test_signals_strategies.py::test_signals_carry_what_the_gate_needs
ORD-01 An order carries everything its approval said
 unit/test_orders_book.py::test_every_field_of_an_approval_is_in_its_order
ORD-02 Two sides
 unit/test_risk_entries.py::test_a_short_has_the_same_cap
ORD-03 Market, limit, stop, stop-limit
 unit/test_risk_changes.py::test_the_table_is_whole_and_literally_this
 unit/test_venues_orders.py::test_a_stop_limit_becomes_a_limit_order
ORD-04 States, and which may follow which
 unit/test_orders_lifecycle.py::test_every_pair_is_either_in_the_table_or_illegal
ORD-05 Times of an order
 unit/test_orders_book.py::test_the_log_has_the_order_as_it_may_leave
 open: accepted, first fill and end are times of their log entries, not fields of the order (D78)
ORD-06 A fill has time, quantity, price and fee
 unit/test_portfolio_ledger.py::test_the_smallest_fill_books
ORD-07 Order as an embedding of hashed bytes
 open: a hash says nothing about likeness (P02): memory compares the market's condition, not the order (D78)
ORD-08 Orders are managed from wish to end
 flow/test_order_flow.py::test_a_bracket_through_the_core
 open: its speed lines are in python -m tests.bench orders; routing: see ORD-10
ORD-09 The life cycle is a table, and nothing illegal changes anything
 unit/test_orders_lifecycle.py::test_an_illegal_event_changes_nothing_and_is_told
 unit/test_orders_lifecycle.py::test_fill_before_acceptance_and_after_cancel
ORD-10 Routing strategies
 open: one venue; more of them come in a later issue
ORD-11 Positions and profit from fills
 unit/test_portfolio.py::test_first_in_first_out
 unit/test_portfolio.py::test_lots_equal_cash_accounting
ORD-12 Ids are idempotent
 unit/test_orders_lifecycle.py::test_the_id_ledger_never_forgets
 flow/test_order_flow.py::test_a_repeated_id_gets_the_first_answer_and_sends_nothing
 open: for good and not for 24 h (P50)
ORD-13 One cancels the other, atomically
 unit/test_venues_orders.py::test_of_an_oco_the_other_ends_when_one_fills
 unit/test_risk_changes.py::test_an_oco_of_entries_counts_once_and_one_after_another_counts_both
ORD-14 Tiers of maker and taker fees with rebates
 unit/test_fees_charge.py::test_a_discount_lowers_a_fee_and_never_a_rebate
ORD-15 The clock's drift
 unit/test_safety_clock_watch.py::test_a_step_of_a_second
 open: a request's signature is its venue's, and there is no live venue yet
ORD-16 Filters of price, lot, value and distance
 unit/test_risk_entries.py::test_lot_and_smallest_quantity
 unit/test_risk_entries.py::test_prices_are_on_a_tick
 unit/test_risk_entries.py::test_smallest_value
 unit/test_risk_entries.py::test_collar_on_both_sides
ORD-17 A symbol's events are processed in one order
 flow/test_order_flow.py::test_reports_in_any_order_book_the_same
ORD-18 Number of simulated fills
 unit/test_venues_paper.py::test_partial_fills_go_down_the_ladder_and_the_rest_of_a_market_order_ends
 open: not drawn from a distribution: the book's sizes decide (D78)
ORD-19 Share of simulated fills
 unit/test_venues_orders.py::test_an_order_rests_behind_the_size_shown_at_its_price
 open: not drawn from a distribution: the queue decides (D78)
ORD-20 Log-normal travel time
 unit/test_venues_orders.py::test_travel_time_is_the_orders_own
ORD-21 Its distribution is tested
 unit/test_venues_orders.py::test_travel_time_is_the_orders_own
ORD-22 Scores of a review
 open: nothing that could be built
ORD-23 The idempotency store is bounded in memory
 unit/test_orders_changes.py::test_the_id_ledger_tells_what_became_of_an_order
 open: bytes for each id are in python -m tests.bench orders
ORD-24 Self-trade is prevented
 unit/test_risk_changes.py::test_an_entry_does_not_cross_our_own_exit
 unit/test_venues_orders.py::test_two_orders_of_the_account_never_trade_with_each_other
ORD-25 Money is exact
 unit/test_domain_money.py::test_notional_is_exact
ORD-26 Errors have a taxonomy
 unit/test_orders_changes.py::test_replies
ORD-27 Events have an order
 unit/test_orders_changes.py::test_events_are_released_once_and_in_order
ORD-28 p99.9 is measured
 open: every bench prints it; no test depends on speed
ORD-29 Back-pressure refuses entries, never a cancel or an exit
 flow/test_order_flow.py::test_too_many_entries_are_refused_and_an_exit_and_a_cancel_are_not
ORD-30 Supply chain
 open: locked by hash in provisioning/; signed updates come with their issue
ORD-31 A stop is mandatory
 unit/test_risk_entries.py::test_without_any_stop_the_order_is_denied
 open: at the gate, the one door, and not as a constraint of a database
EXE-01 From a validated signal to orders
 flow/test_execution_pipeline.py::test_an_entry_is_worked_as_configured_and_a_close_ends_it
EXE-02 Partial fills, slippage, retry
 flow/test_execution.py::test_a_thin_market_fills_a_slice_in_tries
 flow/test_execution.py::test_what_was_stopped_at_the_wire_is_tried_again_under_another_id
EXE-03 Nothing leaves without an approval
 rules/test_rules_code.py::test_approved_is_constructed_in_one_place
 flow/test_wire_door.py::test_nothing_leaves_after_the_latch_is_set
EXE-04 Strategy, order, send, measure
 flow/test_execution.py::test_a_twap_sends_one_slice_in_its_time_and_sums_to_the_whole
 flow/test_execution.py::test_figures_of_a_parent
EXE-05 Slippage, fees, latency
 unit/test_orders_plan.py::test_implementation_shortfall_has_two_parts
 unit/test_runtime_execution.py::test_metrics_of_execution
EXE-06 Retry only where the fate is known
 flow/test_execution.py::test_an_unknown_fate_is_looked_up_and_nothing_is_sent_meanwhile
EXE-07 Connectors
 contract/test_venue_contract.py::test_new_amend_replace_cancel
 open: one venue (paper, in the process and over HTTP); others and failover come later
EXE-08 Approval enforced, figures kept, retries work
 flow/test_execution_crash.py::test_a_crash_anywhere_in_a_plan_sends_nothing_twice_and_nothing_less
EXE-09 Execution is a module
 unit/test_orders_plan.py::test_the_table_is_literally_this
EXE-10 TWAP and iceberg
 unit/test_orders_plan.py::test_a_twap_is_cut_by_time
 unit/test_orders_plan.py::test_an_iceberg_rests_at_the_arrival_price_and_shows_no_more_than_it_may
FEE-01 What an order will cost, and a reason where nobody knows
 unit/test_fees_costs.py::test_the_estimate_of_a_market_order
 flow/test_fees.py::test_a_schedule_that_stops_coming_keeps_entries_out_and_traps_no_exit
FEE-02 Maker and taker by what happened, tiers, slippage
 contract/test_fee_contract.py::test_a_marketable_limit_is_a_taker
 unit/test_fees_costs.py::test_a_prediction_from_the_size_that_is_shown
 open: VIP and funding fees come in a later issue
FEE-03 Asked for every 60 s, never used past 5 min
 flow/test_fees.py::test_asked_every_minute_and_sooner_after_a_failure
 unit/test_fees_book.py::test_a_schedule_is_used_for_five_minutes
FEE-04 The exchange's fee
 unit/test_fees_charge.py::test_worked_examples
FEE-05 Funding
 open: of a later issue
FEE-06 The total has the network fee in it
 unit/test_fees_charge.py::test_the_network_fee_comes_with_the_first_fill_of_an_order
 unit/test_fees_costs.py::test_a_round_trip_by_hand
FEE-07 Break-even price
 unit/test_fees_costs.py::test_break_even_by_hand
 property/test_fee_properties.py::test_break_even_is_where_a_round_trip_stops_losing
FEE-08 A cache with its age
 unit/test_fees_book.py::test_the_figures_of_the_rule
FEE-09 Each of its functions
 unit/test_fees_costs.py::test_fills_teach_and_the_error_is_that_of_the_predictions_made
 unit/test_fees_book.py::test_taking_tells_whether_it_changed
FEE-10 Within 0.01 %
 unit/test_fees_book.py::test_one_part_in_ten_thousand_of_the_fee_is_the_tolerance
PF-01 Positions and market to state and proposals
 unit/test_portfolio_analysis.py::test_proposals_of_different_limits_stand_side_by_side
PF-02 Positions, profit, correlations, proposals
 unit/test_portfolio_analysis.py::test_totals_include_cash_and_every_unit_of_profit
PF-03 The books are always right
 unit/test_portfolio_ledger.py::test_a_broken_identity_is_found_at_the_next_fill
 property/test_risk_properties.py::test_profit_and_sums_are_exact_under_any_fills
PF-04 Totals, concentration, leverage
 unit/test_portfolio_analysis.py::test_too_much_in_all_is_proposed_down_in_proportion
PF-05 Correlation matrix
 unit/test_portfolio_correlation.py::test_real_prices_against_the_textbook
 property/test_risk_properties.py::test_correlations_are_symmetric_bounded_and_numpys
PF-06 Rebalance proposals, never orders
 flow/test_risk_flow.py::test_proposals_are_noted_once_a_day_and_never_become_orders
PF-07 Profit exact to the last unit
 unit/test_portfolio_ledger.py::test_cash_and_profit_stay_exact_over_flips
"""

ROWS: tuple[Rule, ...] = read_rules(TABLE)

if __name__ == "__main__":
    import sys

    sys.stdout.write(tell_rules(ROWS) + "\n")
