package sidecar

import "pannier/proxy/metrics"

// Families are the metrics of a sidecar, beside those of every process.
var Families metrics.Families

var (
	target = Families.Gauge("target_info", "Always 1: the resource of OpenTelemetry that all of this is of, as its traces name it.", "service_name", "service_version", "service_instance_id")

	submitted = Families.Counter("pannier_intent_submitted_total", "Intents this sidecar is home of, since its start: accepted, redriven, completions.")
	finished  = Families.Counter("pannier_intent_finished_total", "Of these, those that have ended.", "outcome")
	endToEnd  = Families.Histogram("pannier_intent_end_to_end_duration_seconds", "From accept to the end, at home.")
	replays   = Families.Counter("pannier_intent_idempotency_replays_total", "Writes answered as before, for a known idempotency key.")

	queueDepth = Families.Gauge("pannier_intent_queue_depth", "Intents that wait, by where.", "state")
	queueAge   = Families.Gauge("pannier_intent_queue_oldest_age_seconds", "How long the oldest of them has waited: since it was due (ready), else since it was accepted.", "state")
	openDepth  = Families.Gauge("pannier_intent_open", "Intents of this home that have not ended.")
	openAge    = Families.Gauge("pannier_intent_open_oldest_age_seconds", "Since the oldest of them was accepted.")
	delayed    = Families.Gauge("pannier_intent_delayed", "Intents that no app has, by the code that pannier why gives for the first of their agent; other are those of agents beyond the 100 with most.", "code")
	unacked    = Families.Gauge("pannier_intent_reports_unacked", "Reports to homes that they have not acknowledged.")

	deadDepth   = Families.Gauge("pannier_intent_dlq_depth", "Dead letters kept here: ours, and copies of those we held.")
	deadAge     = Families.Gauge("pannier_intent_dlq_oldest_age_seconds", "Since the oldest of them ended.")
	deadEntered = Families.Counter("pannier_intent_dlq_entered_total", "Intents of this home that became dead letters.", "reason")
	redriven    = Families.Counter("pannier_intent_dlq_redriven_total", "Dead letters of this home that got a successor, by what they had died of.", "reason")

	attempts     = Families.Counter("pannier_intent_delivery_attempts_total", "Hand-overs to apps here, by what came of them; error_type says why one failed.", "agent", "mode", "outcome", "error_type")
	attemptTime  = Families.Histogram("pannier_intent_delivery_duration_seconds", "From the lease, or the request to its app, to the app's answer.", "mode")
	doorState    = Families.Gauge("pannier_intent_door_state", "1 for the state of the door between a mailbox and its app.", "agent", "state")
	readers      = Families.Gauge("pannier_intent_readers", "Polls and streams that wait for an agent, and pushes to its app.", "agent")
	streams      = Families.Gauge("pannier_intent_stream_clients", "Streams of agents that apps have open.")
	unsettled    = Families.Gauge("pannier_intent_mailbox_unsettled", "Held here for an agent and not settled: what counts against credit, and what its app works on.", "agent")
	mailboxLimit = Families.Gauge("pannier_intent_mailbox_limit", "How many may be held here for one agent.")

	offers       = Families.Counter("pannier_intent_offers_total", "Offers that a peer has answered, by its answer.", "peer", "outcome")
	offerTime    = Families.Histogram("pannier_intent_offer_duration_seconds", "From a frame of offers sent to all of it answered.")
	breakerState = Families.Gauge("pannier_intent_breaker_state", "1 for the state of the breaker of a peer.", "peer", "state")
	breakerMoves = Families.Counter("pannier_intent_breaker_transitions_total", "Changes of that state.", "peer", "from", "to")
	connected    = Families.Gauge("pannier_peer_connected", "1 while there is a stream to a peer that something here needs.", "peer")
	heldAt       = Families.Gauge("pannier_peer_held", "Intents of this home that a peer holds, unsettled.", "peer")
	destinations = Families.Gauge("pannier_destinations", "Agents that something is due for, or on its way to.")
	homes        = Families.Gauge("pannier_peer_homes", "Homes with a stream to this sidecar.")

	authFailures = Families.Counter("pannier_auth_failures_total", "Requests without a valid key (api), and streams of peers that did not prove what they had to (peer).", "listener")

	served        = Families.Histogram("http_server_request_duration_seconds", "Requests to the app API, by route; waits count, and so does a whole stream.", "http_request_method", "http_route", "http_response_status_code")
	pushes        = Families.Histogram("http_client_request_duration_seconds", "Requests to apps and subscribers that receive by http; error_type is the status of an error, or _OTHER where no answer came.", "http_request_method", "server_address", "server_port", "http_response_status_code", "error_type")
	operationTime = Families.Histogram("messaging_client_operation_duration_seconds", "Frames of offers until they are answered (send), and polls (receive) and answers (settle) of apps; waits count.", "messaging_system", "messaging_operation_name", "messaging_operation_type", "error_type")
	sent          = Families.Counter("messaging_client_sent_messages_total", "Intents offered to a peer, once it has answered; error_type is refused where it did not take one.", "messaging_system", "messaging_operation_name", "error_type")
	consumed      = Families.Counter("messaging_client_consumed_messages_total", "Hand-overs to apps here, once they have ended; error_type is there where the app did not finish it.", "messaging_system", "messaging_operation_name", "messaging_destination_name", "error_type")
	processTime   = Families.Histogram("messaging_process_duration_seconds", "From the lease, or the request to its app, to what ended the hand-over.", "messaging_system", "messaging_operation_name", "error_type")

	secretAge  = Families.Gauge("pannier_intent_secret_age_seconds", "Since the secret that signs an agent's webhooks was made.", "agent")
	configOK   = Families.Gauge("pannier_config_last_reload_successful", "1 while the config file, as it is, is in force; only where there is one.")
	configTime = Families.Gauge("pannier_config_last_reload_success_timestamp_seconds", "When it was last taken, in seconds since 1970.")

	syncTime   = Families.Histogram("pannier_intent_journal_sync_duration_seconds", "From a batch to the disk's word that it is durable.")
	operations = Families.Counter("pannier_intent_journal_operations_total", "Operations in these batches.")
	size       = Families.Gauge("pannier_intent_journal_size_bytes", "Bytes of the journal's tables on disk, about.")
	free       = Families.Gauge("pannier_intent_journal_free_bytes", "Bytes that are free on its volume, as the system said last; it says that several times a second, or fails the check space.")
	inodes     = Families.Gauge("pannier_intent_journal_free_inodes", "Files that may still be made on its volume; 0 where it makes room for them as it needs it.")
	low        = Families.Gauge("pannier_intent_journal_low", "1 while so little is free there that nothing new is taken.")
	ballast    = Families.Gauge("pannier_intent_journal_ballast_bytes", "Bytes kept in reserve there, for what must be written when it is full; 0 once that was used.")
	filesLeft  = Families.Gauge("pannier_open_files_left", "Files and connections that this process may still open, beside those kept in reserve.")
	filesSpare = Families.Gauge("pannier_open_files_spare", "Files kept in reserve for the journal; 0 once they were given up, and no connection is taken.")
	stalled    = Families.Gauge("pannier_intent_journal_stalled_seconds", "How long a batch has been on its way to the disk, where that is 5 s or more.")
	history    = Families.Gauge("pannier_intent_journal_history_bytes", "Bytes that ended intents take, about.")
	failed     = Families.Gauge("pannier_intent_journal_failed", "1 once a commit has failed: the process is about to end.")
	scrubs     = Families.Counter("pannier_intent_journal_scrubs_total", "Times its live set was read whole and found to be what was written.")
	compacted  = Families.Counter("pannier_intent_journal_compactions_total", "Times it was compacted, while it was quiet, because much of it was deleted.")
	unapplied  = Families.Counter("pannier_intent_reports_set_aside_total", "Reports of other sidecars that could not be applied; each costs its intent alone, which is a dead letter for sidecar_fault.")
	lateOnes   = Families.Counter("pannier_intent_late_answers_total", "Answers that came when their intent had ended otherwise: kept with it, at most four, and of no effect.")
	corrupt    = Families.Counter("pannier_intent_journal_corrupt_records_total", "Records that could not be read and were set aside; each costs its intent alone.")
	warnings   = Families.Counter("pannier_intent_journal_warnings_total", "Lines of the journal and its store in the log that warn of something.")
	durable    = Families.Gauge("pannier_intent_journal_durable", "0 where the journal's volume does not outlive the host.")
	clockAhead = Families.Gauge("pannier_clock_ahead_seconds", "How far the host's clock has jumped ahead of the time that has passed; negative: back; 0 while it is believed.")
	clockWaits = Families.Gauge("pannier_clock_paused", "1 while nothing expires because the clock has jumped.")
	limitUsed  = Families.Gauge("pannier_limit_used", "How much is taken of what is bounded; of connections, those that are at work: others make way.", "limit")
	limitMost  = Families.Gauge("pannier_limit_max", "How much there may be of it.", "limit")
	turnedAway = Families.Counter("pannier_connections_turned_away_total", "Connections that were closed at once, as all places of their listener were at work or hardly any files were left.", "listener")
	ready      = Families.Gauge("pannier_ready", "1 while /readyz says so.")

	xdsConnected  = Families.Gauge("pannier_xds_connected", "1 while a control plane speaks; like all of xds only where one is configured.")
	xdsAge        = Families.Gauge("pannier_xds_stale_age_seconds", "Since one last did.")
	xdsNacks      = Families.Counter("pannier_xds_nacks_total", "Responses of which a part was refused.")
	xdsUnexpected = Families.Counter("pannier_xds_unexpected_total", "Responses for types that were not asked for.")
	xdsAgents     = Families.Gauge("pannier_xds_agents", "Agents that were asked for.")
	xdsResources  = Families.Gauge("pannier_xds_resources", "Resources known or asked for; what is used though it was deleted, denied or refused is …_but_cached.", "type", "state")
)

// Buckets, in seconds: of what one disk or one peer does, of requests, and of what apps do, who may
// take hours.
var (
	quick = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	web   = []float64{.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10} // of the semantic conventions for HTTP
	slow  = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600}
)
