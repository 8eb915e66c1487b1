-- What a broker with schema 4 wrote, for the tables of migrations 1 to 4: three sessions and a client
-- without session ids, messages in every state, a notice, a probe whose doctor was killed, a peer
-- that another absorbed, and the import of a legacy database. Paths, ids, processes and times are
-- made up; what waits expires in the year 2286. Messages come first, so that no trigger counts
-- them: the counts are in the rows of the peers.

INSERT INTO messages (seq, id, sender, recipient, sender_name, sender_summary, sender_cwd, addressed_name, text, reply_to, sent_at, expires_at, state, offered_at, offered_via, read_at, read_via, lease_until, lease_by) VALUES
    (-1, 'm00000000001', 'probe001', 'probe001', NULL, '', '', NULL, 'probe', NULL, 1767225904710, 9999999999999, 'queued', NULL, NULL, NULL, NULL, NULL, NULL),
    (1, 'm00000000002', 'ab12cd34', 'zzzzzzz2', NULL, '', '', NULL, 'imported, delivered', NULL, 1740823201500, 1740823201500, 'unconfirmed', NULL, NULL, NULL, NULL, NULL, NULL),
    (2, 'm00000000003', 'zzzzzzz2', 'ab12cd34', NULL, '', '', NULL, 'imported, not delivered', NULL, 1740823202000, 1740823202000, 'expired', NULL, NULL, NULL, NULL, NULL, NULL),
    (3, 'm00000000004', 'backend1', 'fronten1', 'backend', 'the backend', '/srv/backend', NULL, 'read by a tool', NULL, 1767225895859, 1767830695859, 'read', 1767225895875, 'tool', 1767225895885, 'tool', NULL, NULL),
    (4, 'm00000000005', 'fronten1', 'backend1', 'frontend', '', '/srv/frontend', NULL, 'pushed by a channel', NULL, 1767225895885, 9999999999999, 'offered', 1767225895885, 'channel', NULL, NULL, NULL, NULL),
    (5, 'm00000000006', 'apiapi01', 'fronten1', 'api', '', '/srv/api', NULL, 'from another client', NULL, 1767225896422, 9999999999999, 'queued', NULL, NULL, NULL, NULL, NULL, NULL),
    (6, 'm00000000007', 'clicli01', 'fronten1', 'cli', '', '', NULL, 'from the command line', NULL, 1767225896446, 9999999999999, 'queued', NULL, NULL, NULL, NULL, NULL, NULL),
    (7, 'm00000000008', 'backend1', 'clicli01', 'backend', 'the backend', '/srv/backend', NULL, 'to the command line', NULL, 1767225896463, 1767830696463, 'read', 1767225896469, 'cli', 1767225896470, 'cli', NULL, NULL),
    (8, 'm00000000009', 'backend1', 'cleared1', 'backend', 'the backend', '/srv/backend', NULL, 'for a session that is away', NULL, 1767225898210, 9999999999999, 'queued', NULL, NULL, NULL, NULL, NULL, NULL),
    (9, 'm00000000010', 'backend1', 'fronten1', 'backend', 'the backend', '/srv/backend', NULL, 'will expire', NULL, 1767225902172, 1000, 'expired', NULL, NULL, NULL, NULL, NULL, NULL),
    (10, 'm00000000011', 'broker', 'backend1', 'claude-peers broker', '', '', NULL, 'The time of a message that you sent to frontend (fronten1) ran out.' || char(10) || 'Never offered (expired): m00000000010.' || char(10) || 'Send again what still matters.', NULL, 1767225902691, 9999999999999, 'queued', NULL, NULL, NULL, NULL, NULL, NULL);

INSERT INTO peers (id, kind, name, name_source, summary, summary_source, cwd, directory, repo, client_name, client_version, client_process, one_shot, created_at, seen_at, unread, noticed_turn, woken_seq, woken_at, client_named, client_title, former_name, worktree, wakes, last_woken_at) VALUES
    ('clicli01', 'cli', 'cli', 'reserved', '', 'none', '', NULL, NULL, '', '', NULL, 0, 1767225891942, 1767225891942, 0, NULL, NULL, NULL, 0, NULL, NULL, NULL, 0, NULL),
    ('ab12cd34', 'history', NULL, NULL, 'the api', 'none', '/srv/api', NULL, NULL, '', '', NULL, 0, 1740826800000, 1740826800000, 0, NULL, NULL, NULL, 0, NULL, NULL, NULL, 0, NULL),
    ('zzzzzzz2', 'history', NULL, NULL, '', 'none', '/srv/web', NULL, NULL, '', '', NULL, 0, 1740826800000, 1740826800000, 0, NULL, NULL, NULL, 0, NULL, NULL, NULL, 0, NULL),
    ('backend1', 'session', 'backend', 'environment', 'the backend', 'session', '/srv/backend', '/srv/backend', NULL, 'claude-code', '2.1.330', '4194304:1000:00000000-0000-4000-8000-000000000000', 0, 1767225892084, 1767225902178, 1, NULL, NULL, NULL, 0, NULL, NULL, NULL, 0, NULL),
    ('fronten1', 'session', 'frontend', 'environment', '', 'none', '/srv/frontend', '/srv/frontend', NULL, 'claude-code', '2.1.330', '4194304:1000:00000000-0000-4000-8000-000000000000', 0, 1767225893367, 1767225902178, 2, NULL, NULL, NULL, 0, NULL, NULL, NULL, 0, NULL),
    ('apiapi01', 'client', 'api', 'automatic', '', 'none', '/srv/api', '/srv/api', NULL, 'other-client', '2.1.330', '4194304:1000:00000000-0000-4000-8000-000000000000', 0, 1767225894618, 1767225902178, 0, NULL, NULL, NULL, 0, NULL, NULL, NULL, 0, NULL),
    ('cleared1', 'session', 'cleared', 'automatic', '', 'none', '/srv/cleared', '/srv/cleared', NULL, 'claude-code', '2.1.330', '4194304:1000:00000000-0000-4000-8000-000000000000', 0, 1767225896487, 1767225902178, 1, NULL, NULL, NULL, 0, NULL, NULL, NULL, 0, NULL),
    ('mistake1', 'history', NULL, NULL, '', 'none', '/srv/cleared', '/srv/cleared', NULL, 'claude-code', '2.1.330', NULL, 0, 1767225898242, 1767225902178, 0, NULL, NULL, NULL, 0, NULL, NULL, NULL, 0, NULL),
    ('probe001', 'history', NULL, NULL, '', 'none', '', NULL, NULL, '', '', NULL, 0, 1767225904707, 1767225904707, 1, NULL, NULL, NULL, 0, NULL, NULL, NULL, 0, NULL);

INSERT INTO keys (key, peer, bound_at) VALUES
    ('process:4194304:1000:00000000-0000-4000-8000-000000000000:1:/srv/api', 'apiapi01', 1767225894618),
    ('session:session-backend', 'backend1', 1767225892084),
    ('session:session-frontend', 'fronten1', 1767225893367),
    ('session:session-kept', 'cleared1', 1767225896487),
    ('session:session-mistaken', 'cleared1', 1767225898242);

INSERT INTO clients (process, session, said_at) VALUES
    ('4194305:1001:00000000-0000-4000-8000-000000000000', 'session-kept', 1767225900742);

INSERT INTO receivers (instance, peer, secret, channel, client_process, registered_at, wakes) VALUES
    ('instance-1', 'apiapi01', 'secret-2-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx', 'absent', '4194304:1000:00000000-0000-4000-8000-000000000000', 1767225894618, 0),
    ('instance-2', 'cleared1', 'secret-0-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx', 'presumed', '4194304:1000:00000000-0000-4000-8000-000000000000', 1767225896487, 0),
    ('instance-3', 'fronten1', 'secret-1-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx', 'absent', '4194304:1000:00000000-0000-4000-8000-000000000000', 1767225893367, 0),
    ('left-probe', 'probe001', 'secret-5-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx', 'absent', NULL, 1767225904707, 0),
    ('instance-4', 'backend1', 'secret-4-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx', 'presumed', '4194304:1000:00000000-0000-4000-8000-000000000000', 1767225892084, 0),
    ('instance-5', 'cleared1', 'secret-3-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx', 'presumed', '4194304:1000:00000000-0000-4000-8000-000000000000', 1767225898242, 0);

INSERT INTO offers (message, receiver, via, offered_at, written_at, turn, occasion) VALUES
    (3, 'instance-3', 'tool', 1767225895875, NULL, NULL, ''),
    (4, 'instance-4', 'channel', 1767225895885, 1767225895914, NULL, ''),
    (7, 'cli', 'cli', 1767225896469, NULL, NULL, '');

INSERT INTO answers (number, caller, key, fingerprint, answered_at, body) VALUES
    (1, 'instance-4', 'idempotency-key-6', -2207173946934385022, 9999999999999, '{"peer":{"id":"backend1","name":"backend","kind":"session","live":true,"reach":"channel_presumed","since":"2026-01-01T00:04:52.102Z","summary":"the backend","cwd":"/srv/backend","repo":null,"client_name":"claude-code","client_version":"2.1.330","one_shot":false,"unread":0,"oldest_unread":null},"changed":true,"waiting":0,"notes":[]}'),
    (3, 'instance-3', 'idempotency-key-4', -3445633200885763232, 9999999999999, '{"messages":[{"id":"m00000000004","from_id":"backend1","from_name":"backend","from_summary":"the backend","from_cwd":"/srv/backend","sent_at":"2026-01-01T00:04:55.859Z","text":"read by a tool","reply_to":null,"repeat":false,"already_pushed":false}],"remaining":0,"own_unread":[],"own_unread_total":0,"owner":{"id":"fronten1","name":"frontend"}}'),
    (6, 'cli', 'idempotency-key-5', -8116319050598813642, 9999999999999, '{"id":"m00000000007","state":"queued","sent_at":"2026-01-01T00:04:56.446Z","to":{"id":"fronten1","name":"frontend","kind":"session","live":true,"reach":"tools","since":"2026-01-01T00:04:53.371Z","summary":"","cwd":"/srv/frontend","repo":null,"client_name":"claude-code","client_version":"2.1.330","one_shot":false,"unread":2,"oldest_unread":"2026-01-01T00:04:56.422Z"},"awaited":false,"waiting":0,"from":{"id":"clicli01","name":"cli"}}'),
    (9, 'instance-4', 'idempotency-key-10', -888181691914281122, 9999999999999, '{"id":"m00000000009","state":"queued","sent_at":"2026-01-01T00:04:58.210Z","to":{"id":"cleared1","name":"cleared","kind":"session","live":false,"reach":"away","since":"2026-01-01T00:04:57.699Z","summary":"","cwd":"/srv/cleared","repo":null,"client_name":"claude-code","client_version":"2.1.330","one_shot":false,"unread":1,"oldest_unread":"2026-01-01T00:04:58.210Z"},"awaited":false,"waiting":1,"from":{"id":"backend1","name":"backend"}}');

INSERT INTO remembered_names (name, directory, used_at) VALUES
    ('api', '/srv/api', 9999999999999),
    ('cleared', '/srv/cleared', 9999999999999),
    ('cleared-2', '/srv/cleared', 9999999999999);
