package classify

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/opmux/opmux/capture/catalog"
)

// words makes a set of blank-separated words.
func words(list ...string) map[string]bool {
	m := map[string]bool{}
	for _, l := range list {
		for _, w := range strings.Fields(l) {
			m[w] = true
		}
	}
	return m
}

// harmless are built-in volatile functions that write nothing durable. Sequences
// (nextval, setval) and set_config are treated on their own; what is not here is
// refused.
var harmless = words(
	"random setseed gen_random_uuid clock_timestamp timeofday pg_sleep pg_sleep_for pg_sleep_until currval lastval",
	"uuidv4 uuidv7 random_normal",
	"pg_advisory_lock pg_advisory_lock_shared pg_advisory_unlock pg_advisory_unlock_all pg_advisory_unlock_shared",
	"pg_advisory_xact_lock pg_advisory_xact_lock_shared pg_try_advisory_lock pg_try_advisory_lock_shared",
	"pg_try_advisory_xact_lock pg_try_advisory_xact_lock_shared pg_notify pg_notification_queue_usage",
	"pg_cancel_backend pg_terminate_backend pg_blocking_pids pg_safe_snapshot_blocking_pids pg_isolation_test_session_is_blocked",
	"pg_reload_conf pg_rotate_logfile pg_log_backend_memory_contexts pg_get_backend_memory_contexts pg_get_shmem_allocations",
	"pg_database_size pg_tablespace_size pg_relation_size pg_total_relation_size pg_table_size pg_indexes_size",
	"pg_is_in_recovery pg_current_wal_lsn pg_current_wal_insert_lsn pg_current_wal_flush_lsn pg_last_wal_receive_lsn",
	"pg_last_wal_replay_lsn pg_last_xact_replay_timestamp pg_is_wal_replay_paused pg_get_wal_replay_pause_state pg_switch_wal",
	"pg_create_restore_point pg_backup_start pg_backup_stop pg_start_backup pg_stop_backup pg_export_snapshot",
	"pg_xact_status txid_status pg_last_committed_xact pg_xact_commit_timestamp pg_xact_commit_timestamp_origin pg_get_multixact_members",
	"pg_control_checkpoint pg_control_init pg_control_recovery pg_control_system pg_current_logfile",
	"pg_hba_file_rules pg_ident_file_mappings pg_show_all_file_settings pg_lock_status pg_prepared_xact pg_jit_available",
	"pg_ls_dir pg_ls_logdir pg_ls_waldir pg_ls_tmpdir pg_ls_archive_statusdir pg_ls_logicalmapdir pg_ls_logicalsnapdir pg_ls_replslotdir",
	"pg_read_file pg_read_binary_file pg_stat_file pg_partition_tree pg_partition_ancestors pg_sequence_last_value",
	"pg_stat_clear_snapshot pg_stat_force_next_flush pg_stat_have_stats pg_stat_reset pg_stat_reset_shared pg_stat_reset_slru",
	"pg_stat_reset_single_table_counters pg_stat_reset_single_function_counters pg_stat_reset_replication_slot pg_stat_reset_subscription_stats",
	"pg_stat_get_recovery_prefetch pg_stat_get_xact_blocks_fetched pg_stat_get_xact_blocks_hit pg_stat_get_xact_function_calls",
	"pg_stat_get_xact_function_self_time pg_stat_get_xact_function_total_time pg_stat_get_xact_numscans pg_stat_get_xact_tuples_deleted",
	"pg_stat_get_xact_tuples_fetched pg_stat_get_xact_tuples_hot_updated pg_stat_get_xact_tuples_inserted pg_stat_get_xact_tuples_returned",
	"pg_stat_get_xact_tuples_updated pg_stat_get_xact_tuples_newpage_updated pg_collation_actual_version pg_database_collation_actual_version",
	"pg_show_replication_origin_status pg_replication_origin_progress pg_replication_origin_session_progress pg_replication_origin_session_is_setup",
	"pg_logical_slot_peek_changes pg_logical_slot_peek_binary_changes pg_get_wal_resource_managers pg_extension_config_dump current_query",
	"currtid2 lo_get amvalidate pg_current_xact_id txid_current pg_stat_get_snapshot_timestamp",
	"brin_summarize_new_values brin_summarize_range brin_desummarize_range gin_clean_pending_list",
)

// trusted are extensions whose volatile functions write nothing durable.
var trusted = words("uuid-ossp pgcrypto citext hstore pg_trgm unaccent btree_gin btree_gist ltree intarray cube earthdistance",
	"fuzzystrmatch isn seg xml2 dict_int dict_xsyn tsm_system_rows tsm_system_time pg_stat_statements pg_buffercache pgstattuple pageinspect",
	"pg_freespacemap pg_visibility pgrowlocks pg_uuidv7 vector amcheck")

// contextual are built-in functions that are not immutable only because they look
// at settings that travel with the transaction (time zone, styles).
var contextual = words("date date_trunc date_part extract timezone to_date to_timestamp make_timestamptz timestamp timestamptz timetz",
	"concat concat_ws quote_literal quote_nullable length to_json to_jsonb json_build_object json_build_array jsonb_build_object jsonb_build_array",
	"array_to_string overlaps")

// castsToDate are functions that are casts to a date or time.
var castsToDate = words("date time timetz timestamp timestamptz")

// inexact are functions whose last digit depends on the machine's libraries.
var inexact = words("sin cos tan cot asin acos atan atan2 sinh cosh tanh asinh acosh atanh sind cosd tand cotd asind acosd atand atan2d",
	"exp ln log log10 pow power cbrt dexp dlog1 dlog10 dpow dcbrt degrees radians erf erfc gamma lgamma")

// verdict is what calling a function by some name may set off.
type verdict uint8

const (
	callUnknown  verdict = iota // no such function
	callPure                    // immutable, built in
	callContext                 // as immutable, under the session's settings
	callStable                  // changes nothing, may differ
	callVolatile                // writes nothing durable, differs at each call
	callUnsafe                  // may write
)

// call judges a function by name: of all that might be meant, the worst, since
// only the server resolves overloads.
func (j *job) call(schema, name string) (verdict, error) {
	facts, err := j.facts()
	if err != nil {
		return callUnsafe, err
	}
	worst := callUnknown
	if schema == "" || schema == "pg_catalog" || schema == "information_schema" {
		worst = j.builtin(name)
	}
	for _, f := range facts.Functions[name] {
		if schema == f.Schema || schema == "" && slices.Contains(j.path, f.Schema) || schema == "pg_temp" && strings.HasPrefix(f.Schema, "pg_temp_") {
			worst = max(worst, userFunction(f))
		}
	}
	if facts.UnsafeTypes[name] {
		worst = max(worst, callUnsafe) // a cast in the form of a call
	}
	if worst == callUnknown && (facts.Types[name] != "" || j.c.catalog.Builtins().Types[name] != 0) {
		return callStable, nil // a cast in the form of a call
	}
	return worst, nil
}

// shadowed says that an unqualified call of a built-in function may run one of the
// user's: the schemas may come in any order, and an argument may fit it better.
func (j *job) shadowed(schema, name string) (bool, error) {
	facts, err := j.facts()
	if err != nil || schema != "" {
		return false, err
	}
	return slices.ContainsFunc(facts.Functions[name], func(f catalog.Function) bool { return slices.Contains(j.path, f.Schema) }), nil
}

func (j *job) builtin(name string) verdict {
	switch v := j.c.catalog.Builtins().Volatility[name]; {
	case v == 0:
		return callUnknown
	case v == 'v' && harmless[name]:
		return callVolatile
	case v == 'v':
		return callUnsafe
	case inexact[name]:
		return callStable
	case v == 'i':
		return callPure
	case contextual[name]:
		return callContext
	}
	if name == "txid_current" || name == "pg_current_xact_id" {
		return callVolatile
	}
	return callStable
}

func userFunction(f catalog.Function) verdict {
	switch {
	case f.Volatility != "v":
		return callStable
	case f.Extension != "" && trusted[f.Extension]:
		return callVolatile
	}
	return callUnsafe
}

// name splits a possibly qualified name (of up to three parts).
func name(list []*pg.Node) (schema, last string) {
	if len(list) == 0 {
		return "", ""
	}
	if len(list) > 1 {
		schema = list[len(list)-2].GetString_().GetSval()
	}
	return schema, list[len(list)-1].GetString_().GetSval()
}
