CREATE TABLE person (
    id VARCHAR(32) NOT NULL,
    email VARCHAR(320),
    email_shown VARCHAR(320) NOT NULL,
    name VARCHAR(200) NOT NULL,
    picture_url TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    verified_ms BIGINT NOT NULL,
    granted_ms BIGINT NOT NULL,
    is_staff BOOLEAN NOT NULL,
    disabled_ms BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    CONSTRAINT pk_person PRIMARY KEY (id),
    CONSTRAINT uq_person_email UNIQUE (email)
)
--;
CREATE TABLE org (
    id VARCHAR(32) NOT NULL,
    name VARCHAR(200) NOT NULL,
    kind VARCHAR(8) NOT NULL,
    weight INTEGER NOT NULL,
    created_ms BIGINT NOT NULL,
    deleted_ms BIGINT NOT NULL,
    CONSTRAINT pk_org PRIMARY KEY (id)
)
--;
CREATE TABLE one_time_token (
    digest VARCHAR(64) NOT NULL,
    purpose VARCHAR(16) NOT NULL,
    user_id VARCHAR(32) NOT NULL,
    payload TEXT NOT NULL,
    expires_ms BIGINT NOT NULL,
    CONSTRAINT pk_one_time_token PRIMARY KEY (digest)
)
--;
CREATE INDEX ix_one_time_token_expires_ms ON one_time_token (expires_ms)
--;
CREATE INDEX ix_one_time_token_user_id ON one_time_token (user_id)
--;
CREATE TABLE sign_in_attempt (
    who VARCHAR(64) NOT NULL,
    failures INTEGER NOT NULL,
    last_ms BIGINT NOT NULL,
    next_ms BIGINT NOT NULL,
    CONSTRAINT pk_sign_in_attempt PRIMARY KEY (who)
)
--;
CREATE INDEX ix_sign_in_attempt_last_ms ON sign_in_attempt (last_ms)
--;
CREATE TABLE credential_version (
    id INTEGER NOT NULL,
    version BIGINT NOT NULL,
    CONSTRAINT pk_credential_version PRIMARY KEY (id)
)
--;
CREATE TABLE audit_log (
    id VARCHAR(32) NOT NULL,
    at_ms BIGINT NOT NULL,
    org_id VARCHAR(32) NOT NULL,
    actor_kind VARCHAR(8) NOT NULL,
    actor_id VARCHAR(32) NOT NULL,
    action VARCHAR(64) NOT NULL,
    target VARCHAR(128) NOT NULL,
    "before" TEXT NOT NULL,
    "after" TEXT NOT NULL,
    ip VARCHAR(45) NOT NULL,
    request_id VARCHAR(32) NOT NULL,
    CONSTRAINT pk_audit_log PRIMARY KEY (id)
)
--;
CREATE INDEX ix_audit_log_org_id_id ON audit_log (org_id, id)
--;
CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log BEGIN SELECT RAISE(ABORT, 'the audit log only appends'); END
--;
CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log BEGIN SELECT RAISE(ABORT, 'the audit log only appends'); END
--;
CREATE TABLE wallet (
    id INTEGER NOT NULL,
    org_id VARCHAR(32),
    posted BIGINT DEFAULT '0' NOT NULL,
    held BIGINT DEFAULT '0' NOT NULL,
    free_granted_ms BIGINT,
    recharge_below BIGINT,
    top_ups_frozen BOOLEAN DEFAULT false NOT NULL,
    CONSTRAINT pk_wallet PRIMARY KEY (id),
    CONSTRAINT ck_wallet_covered CHECK (held >= 0 AND (id < 0 OR (posted >= 0 AND posted - held >= 0))),
    CONSTRAINT uq_wallet_org_id UNIQUE (org_id)
)
--;
INSERT INTO wallet (id) VALUES (-1), (-2), (-3), (-4), (-5), (-6), (-7)
--;
CREATE TABLE budget (
    id INTEGER NOT NULL,
    scope VARCHAR(8) NOT NULL,
    scope_id VARCHAR(65) NOT NULL,
    period VARCHAR(8) NOT NULL,
    period_start_ms BIGINT NOT NULL,
    used BIGINT DEFAULT '0' NOT NULL,
    held BIGINT DEFAULT '0' NOT NULL,
    CONSTRAINT pk_budget PRIMARY KEY (id),
    CONSTRAINT ck_budget_not_negative CHECK (used >= 0 AND held >= 0),
    CONSTRAINT uq_budget_period UNIQUE (scope, scope_id, period, period_start_ms)
)
--;
CREATE TABLE payment (
    id VARCHAR(32) NOT NULL,
    provider VARCHAR(16) NOT NULL,
    provider_ref VARCHAR(255),
    charge_ref VARCHAR(255),
    org_id VARCHAR(32) NOT NULL,
    money_minor BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    micro_credits BIGINT NOT NULL,
    status VARCHAR(16) DEFAULT 'created' NOT NULL,
    taken_back BIGINT DEFAULT '0' NOT NULL,
    refund_job VARCHAR(32) DEFAULT '' NOT NULL,
    created_ms BIGINT NOT NULL,
    CONSTRAINT pk_payment PRIMARY KEY (id),
    CONSTRAINT ck_payment_taken_back_bounded CHECK (taken_back >= 0 AND taken_back <= micro_credits),
    CONSTRAINT uq_payment_provider_ref UNIQUE (provider_ref)
)
--;
CREATE INDEX ix_payment_charge_ref ON payment (charge_ref)
--;
CREATE INDEX ix_payment_org_id ON payment (org_id)
--;
CREATE TABLE payment_event (
    provider VARCHAR(16) NOT NULL,
    event_id VARCHAR(255) NOT NULL,
    type VARCHAR(64) NOT NULL,
    payload TEXT NOT NULL,
    received_ms BIGINT NOT NULL,
    processed_ms BIGINT,
    error TEXT DEFAULT '' NOT NULL,
    CONSTRAINT pk_payment_event PRIMARY KEY (provider, event_id)
)
--;
CREATE TABLE voucher (
    code_hash VARCHAR(64) NOT NULL,
    micro_credits BIGINT NOT NULL,
    category VARCHAR(8) NOT NULL,
    max_uses INTEGER NOT NULL,
    used INTEGER DEFAULT '0' NOT NULL,
    expires_ms BIGINT,
    credits_last_ms BIGINT,
    note VARCHAR(200) DEFAULT '' NOT NULL,
    created_by VARCHAR(64) NOT NULL,
    created_ms BIGINT NOT NULL,
    CONSTRAINT pk_voucher PRIMARY KEY (code_hash),
    CONSTRAINT ck_voucher_uses_left CHECK (used >= 0 AND used <= max_uses)
)
--;
CREATE TABLE voucher_try (
    id VARCHAR(32) NOT NULL,
    org_id VARCHAR(32) NOT NULL,
    tried_ms BIGINT NOT NULL,
    CONSTRAINT pk_voucher_try PRIMARY KEY (id)
)
--;
CREATE INDEX ix_voucher_try_org ON voucher_try (org_id, tried_ms)
--;
CREATE TABLE auto_recharge (
    org_id VARCHAR(32) NOT NULL,
    enabled BOOLEAN NOT NULL,
    threshold BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    monthly_cap BIGINT NOT NULL,
    spent_this_month BIGINT DEFAULT '0' NOT NULL,
    month_start_ms BIGINT DEFAULT '0' NOT NULL,
    failures INTEGER DEFAULT '0' NOT NULL,
    next_try_ms BIGINT DEFAULT '0' NOT NULL,
    customer_ref VARCHAR(255) DEFAULT '' NOT NULL,
    CONSTRAINT pk_auto_recharge PRIMARY KEY (org_id)
)
--;
CREATE TABLE recharge (
    id VARCHAR(80) NOT NULL,
    org_id VARCHAR(32) NOT NULL,
    micro_credits BIGINT NOT NULL,
    state VARCHAR(8) NOT NULL,
    created_ms BIGINT NOT NULL,
    finished_ms BIGINT,
    error TEXT DEFAULT '' NOT NULL,
    CONSTRAINT pk_recharge PRIMARY KEY (id)
)
--;
CREATE UNIQUE INDEX uq_recharge_in_flight ON recharge (org_id) WHERE state = 'open'
--;
CREATE TABLE ledger_check (
    id VARCHAR(32) NOT NULL,
    checked_ms BIGINT NOT NULL,
    mismatches INTEGER NOT NULL,
    details TEXT DEFAULT '' NOT NULL,
    CONSTRAINT pk_ledger_check PRIMARY KEY (id)
)
--;
CREATE TABLE job (
    id VARCHAR(32) NOT NULL,
    org_id VARCHAR(32) NOT NULL,
    user_id VARCHAR(32) NOT NULL,
    key_id VARCHAR(32) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    service VARCHAR(64) NOT NULL,
    front VARCHAR(16) NOT NULL,
    route VARCHAR(128) NOT NULL,
    requested_model VARCHAR(128) NOT NULL,
    request_id VARCHAR(64) NOT NULL,
    client TEXT NOT NULL,
    task TEXT NOT NULL,
    image_ref VARCHAR(64) NOT NULL,
    mask_ref VARCHAR(64) NOT NULL,
    state VARCHAR(16) NOT NULL,
    attempt INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    owner VARCHAR(32) NOT NULL,
    worker VARCHAR(128) NOT NULL,
    lease_ms BIGINT NOT NULL,
    deadline_s FLOAT NOT NULL,
    weight INTEGER NOT NULL,
    cost_ms FLOAT NOT NULL,
    is_async BOOLEAN NOT NULL,
    is_keyed BOOLEAN NOT NULL,
    price_micro BIGINT NOT NULL,
    charged_micro BIGINT NOT NULL,
    error_code VARCHAR(64) NOT NULL,
    error_message TEXT NOT NULL,
    result_ref VARCHAR(64) NOT NULL,
    media_type VARCHAR(32) NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    seed VARCHAR(20) NOT NULL,
    model VARCHAR(128) NOT NULL,
    is_filtered BOOLEAN NOT NULL,
    run_ms FLOAT NOT NULL,
    created_ms BIGINT NOT NULL,
    started_ms BIGINT NOT NULL,
    finished_ms BIGINT NOT NULL,
    CONSTRAINT pk_job PRIMARY KEY (id)
)
--;
CREATE INDEX ix_job_free ON job (org_id, finished_ms) WHERE is_filtered IS 1 AND charged_micro = 0
--;
CREATE INDEX ix_job_kept ON job (finished_ms) WHERE task != '' AND finished_ms > 0
--;
CREATE INDEX ix_job_open ON job (state) WHERE finished_ms = 0
--;
CREATE INDEX ix_job_org_id_id ON job (org_id, id)
--;
CREATE TABLE idempotency (
    org_id VARCHAR(32) NOT NULL,
    "key" VARCHAR(255) NOT NULL,
    fingerprint VARCHAR(64) NOT NULL,
    job_ids TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    CONSTRAINT pk_idempotency PRIMARY KEY (org_id, "key")
)
--;
CREATE INDEX ix_idempotency_created_ms ON idempotency (created_ms)
--;
CREATE TABLE server_process (
    id VARCHAR(32) NOT NULL,
    seen_ms BIGINT NOT NULL,
    CONSTRAINT pk_server_process PRIMARY KEY (id)
)
--;
CREATE TABLE picture (
    number INTEGER NOT NULL,
    id VARCHAR(32) NOT NULL,
    org_id VARCHAR(32) NOT NULL,
    user_id VARCHAR(32) NOT NULL,
    job_id VARCHAR(32) NOT NULL,
    blob_ref VARCHAR(64) NOT NULL,
    thumb_ref VARCHAR(64) NOT NULL,
    media_type VARCHAR(32) NOT NULL,
    size_bytes BIGINT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    prompt TEXT NOT NULL,
    negative TEXT NOT NULL,
    model VARCHAR(128) NOT NULL,
    requested_model VARCHAR(128) NOT NULL,
    seed VARCHAR(20) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    service VARCHAR(64) NOT NULL,
    recipe TEXT NOT NULL,
    filtered BOOLEAN NOT NULL,
    price_micro BIGINT NOT NULL,
    favourite BOOLEAN NOT NULL,
    created_ms BIGINT NOT NULL,
    deleted_ms BIGINT NOT NULL,
    key_id VARCHAR(32) NOT NULL,
    CONSTRAINT pk_picture PRIMARY KEY (number),
    CONSTRAINT uq_picture_id UNIQUE (id)
)
--;
CREATE INDEX ix_picture_blob_ref ON picture (blob_ref)
--;
CREATE INDEX ix_picture_created_ms ON picture (created_ms)
--;
CREATE INDEX ix_picture_deleted ON picture (deleted_ms) WHERE deleted_ms > 0
--;
CREATE INDEX ix_picture_facets ON picture (org_id, model, width, height, kind, key_id, deleted_ms)
--;
CREATE INDEX ix_picture_job_id ON picture (job_id)
--;
CREATE INDEX ix_picture_org_id_number ON picture (org_id, number)
--;
CREATE INDEX ix_picture_thumb_ref ON picture (thumb_ref) WHERE thumb_ref != ''
--;
CREATE VIRTUAL TABLE picture_text USING fts5(prompt, negative, content='picture', content_rowid='number', tokenize='unicode61 remove_diacritics 2')
--;
CREATE TRIGGER picture_text_add AFTER INSERT ON picture BEGIN INSERT INTO picture_text(rowid, prompt, negative) VALUES (new.number, new.prompt, new.negative); END
--;
CREATE TRIGGER picture_text_remove AFTER DELETE ON picture BEGIN INSERT INTO picture_text(picture_text, rowid, prompt, negative) VALUES ('delete', old.number, old.prompt, old.negative); END
--;
CREATE TRIGGER picture_text_change AFTER UPDATE OF prompt, negative ON picture BEGIN INSERT INTO picture_text(picture_text, rowid, prompt, negative) VALUES ('delete', old.number, old.prompt, old.negative); INSERT INTO picture_text(rowid, prompt, negative) VALUES (new.number, new.prompt, new.negative); END
--;
CREATE TABLE album (
    id VARCHAR(32) NOT NULL,
    org_id VARCHAR(32) NOT NULL,
    name VARCHAR(200) NOT NULL,
    created_ms BIGINT NOT NULL,
    CONSTRAINT pk_album PRIMARY KEY (id),
    CONSTRAINT uq_album_org_id UNIQUE (org_id, name)
)
--;
CREATE TABLE upload (
    id VARCHAR(32) NOT NULL,
    org_id VARCHAR(32) NOT NULL,
    blob_ref VARCHAR(64) NOT NULL,
    size_bytes BIGINT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    has_alpha BOOLEAN NOT NULL,
    created_ms BIGINT NOT NULL,
    CONSTRAINT pk_upload PRIMARY KEY (id)
)
--;
CREATE INDEX ix_upload_blob_ref ON upload (blob_ref)
--;
CREATE INDEX ix_upload_created_ms ON upload (created_ms)
--;
CREATE INDEX ix_upload_org_id_created_ms ON upload (org_id, created_ms)
--;
CREATE TABLE usage_day (
    org_id VARCHAR(32) NOT NULL,
    day VARCHAR(10) NOT NULL,
    key_id VARCHAR(32) NOT NULL,
    user_id VARCHAR(32) NOT NULL,
    service VARCHAR(64) NOT NULL,
    model VARCHAR(128) NOT NULL,
    outcome VARCHAR(16) NOT NULL,
    requests BIGINT NOT NULL,
    pictures BIGINT NOT NULL,
    charged_micro BIGINT NOT NULL,
    compute_ms BIGINT NOT NULL,
    CONSTRAINT pk_usage_day PRIMARY KEY (org_id, day, key_id, user_id, service, model, outcome)
)
--;
CREATE TABLE webhook (
    id VARCHAR(32) NOT NULL,
    org_id VARCHAR(32) NOT NULL,
    url TEXT NOT NULL,
    sealed TEXT NOT NULL,
    former_sealed TEXT NOT NULL,
    former_until_ms BIGINT NOT NULL,
    events TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    failures INTEGER NOT NULL,
    created_ms BIGINT NOT NULL,
    CONSTRAINT pk_webhook PRIMARY KEY (id)
)
--;
CREATE INDEX ix_webhook_org_id ON webhook (org_id)
--;
CREATE TABLE moderation_policy (
    org_id VARCHAR(32) NOT NULL,
    actions TEXT NOT NULL,
    changed_by VARCHAR(32) NOT NULL,
    changed_ms BIGINT NOT NULL,
    CONSTRAINT pk_moderation_policy PRIMARY KEY (org_id)
)
--;
CREATE TABLE moderation_event (
    id VARCHAR(32) NOT NULL,
    org_id VARCHAR(32) NOT NULL,
    user_id VARCHAR(32) NOT NULL,
    key_id VARCHAR(32) NOT NULL,
    request_id VARCHAR(64) NOT NULL,
    action VARCHAR(8) NOT NULL,
    category VARCHAR(32) NOT NULL,
    severity VARCHAR(8) NOT NULL,
    span_length INTEGER NOT NULL,
    text_hash VARCHAR(64) NOT NULL,
    created_ms BIGINT NOT NULL,
    CONSTRAINT pk_moderation_event PRIMARY KEY (id)
)
--;
CREATE INDEX ix_moderation_event_org_id_id ON moderation_event (org_id, id)
--;
CREATE TRIGGER moderation_event_no_update BEFORE UPDATE ON moderation_event BEGIN SELECT RAISE(ABORT, 'the moderation trail only appends'); END
--;
CREATE TRIGGER moderation_event_no_delete BEFORE DELETE ON moderation_event BEGIN SELECT RAISE(ABORT, 'the moderation trail only appends'); END
--;
CREATE TABLE moderation_review (
    id VARCHAR(32) NOT NULL,
    org_id VARCHAR(32) NOT NULL,
    user_id VARCHAR(32) NOT NULL,
    request_id VARCHAR(64) NOT NULL,
    category VARCHAR(32) NOT NULL,
    severity VARCHAR(8) NOT NULL,
    text TEXT NOT NULL,
    text_hash VARCHAR(64) NOT NULL,
    state VARCHAR(8) NOT NULL,
    decided_by VARCHAR(32) NOT NULL,
    note TEXT NOT NULL,
    decided_ms BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    CONSTRAINT pk_moderation_review PRIMARY KEY (id)
)
--;
CREATE INDEX ix_moderation_review_created_ms ON moderation_review (created_ms)
--;
CREATE INDEX ix_moderation_review_org_id_state_id ON moderation_review (org_id, state, id)
--;
CREATE TABLE workspace_file (
    id VARCHAR(32) NOT NULL,
    org_id VARCHAR(32) NOT NULL,
    user_id VARCHAR(32) NOT NULL,
    area VARCHAR(8) NOT NULL,
    folder VARCHAR(512) NOT NULL,
    name VARCHAR(255) NOT NULL,
    blob_ref VARCHAR(64) NOT NULL,
    media_type VARCHAR(64) NOT NULL,
    size_bytes BIGINT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    made_by VARCHAR(64) NOT NULL,
    job_id VARCHAR(32) NOT NULL,
    created_ms BIGINT NOT NULL,
    modified_ms BIGINT NOT NULL,
    CONSTRAINT pk_workspace_file PRIMARY KEY (id),
    CONSTRAINT uq_workspace_file_org_id UNIQUE (org_id, user_id, area, folder, name)
)
--;
CREATE INDEX ix_workspace_file_blob_ref ON workspace_file (blob_ref)
--;
CREATE INDEX ix_workspace_file_job_id ON workspace_file (job_id)
--;
CREATE INDEX ix_workspace_file_made ON workspace_file (org_id, user_id, made_by)
--;
CREATE INDEX ix_workspace_file_temp ON workspace_file (created_ms) WHERE area = 'temp'
--;
CREATE TABLE workspace_counter (
    org_id VARCHAR(32) NOT NULL,
    user_id VARCHAR(32) NOT NULL,
    area VARCHAR(8) NOT NULL,
    folder VARCHAR(512) NOT NULL,
    prefix VARCHAR(255) NOT NULL,
    last BIGINT NOT NULL,
    CONSTRAINT pk_workspace_counter PRIMARY KEY (org_id, user_id, area, folder, prefix)
)
--;
CREATE TABLE workspace_setting (
    org_id VARCHAR(32) NOT NULL,
    user_id VARCHAR(32) NOT NULL,
    name VARCHAR(128) NOT NULL,
    value TEXT NOT NULL,
    CONSTRAINT pk_workspace_setting PRIMARY KEY (org_id, user_id, name)
)
--;
CREATE TABLE workspace_secret (
    org_id VARCHAR(32) NOT NULL,
    user_id VARCHAR(32) NOT NULL,
    name VARCHAR(64) NOT NULL,
    sealed TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    CONSTRAINT pk_workspace_secret PRIMARY KEY (org_id, user_id, name)
)
--;
CREATE TABLE graph_run (
    job_id VARCHAR(32) NOT NULL,
    prompt_id VARCHAR(128) NOT NULL,
    org_id VARCHAR(32) NOT NULL,
    user_id VARCHAR(32) NOT NULL,
    number FLOAT NOT NULL,
    client_id VARCHAR(128) NOT NULL,
    workflow_id VARCHAR(128) NOT NULL,
    prompt TEXT NOT NULL,
    extra TEXT NOT NULL,
    targets TEXT NOT NULL,
    wants_previews INTEGER NOT NULL,
    input_refs TEXT NOT NULL,
    state VARCHAR(16) NOT NULL,
    messages TEXT NOT NULL,
    results TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    started_ms BIGINT NOT NULL,
    finished_ms BIGINT NOT NULL,
    CONSTRAINT pk_graph_run PRIMARY KEY (job_id),
    CONSTRAINT uq_graph_run_prompt_id UNIQUE (prompt_id)
)
--;
CREATE INDEX ix_graph_run_account ON graph_run (org_id, user_id, job_id)
--;
CREATE INDEX ix_graph_run_open ON graph_run (state) WHERE state = 'open'
--;
CREATE TABLE membership (
    org_id VARCHAR(32) NOT NULL,
    user_id VARCHAR(32) NOT NULL,
    role VARCHAR(8) NOT NULL,
    cap_request BIGINT,
    cap_day BIGINT,
    cap_month BIGINT,
    cap_total BIGINT,
    created_ms BIGINT NOT NULL,
    CONSTRAINT pk_membership PRIMARY KEY (org_id, user_id),
    CONSTRAINT fk_membership_org_id_org FOREIGN KEY(org_id) REFERENCES org (id),
    CONSTRAINT fk_membership_user_id_person FOREIGN KEY(user_id) REFERENCES person (id)
)
--;
CREATE INDEX ix_membership_user_id ON membership (user_id)
--;
CREATE TABLE invitation (
    id VARCHAR(32) NOT NULL,
    org_id VARCHAR(32) NOT NULL,
    email VARCHAR(320) NOT NULL,
    role VARCHAR(8) NOT NULL,
    digest VARCHAR(64) NOT NULL,
    invited_by VARCHAR(32) NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    CONSTRAINT pk_invitation PRIMARY KEY (id),
    CONSTRAINT fk_invitation_org_id_org FOREIGN KEY(org_id) REFERENCES org (id),
    CONSTRAINT uq_invitation_digest UNIQUE (digest)
)
--;
CREATE INDEX ix_invitation_org_id ON invitation (org_id)
--;
CREATE TABLE api_key (
    id VARCHAR(32) NOT NULL,
    org_id VARCHAR(32) NOT NULL,
    user_id VARCHAR(32) NOT NULL,
    name VARCHAR(100) NOT NULL,
    digest VARCHAR(64) NOT NULL,
    stub VARCHAR(16) NOT NULL,
    scopes TEXT NOT NULL,
    cap_request BIGINT,
    cap_day BIGINT,
    cap_month BIGINT,
    cap_total BIGINT,
    rate_limit INTEGER,
    networks TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    last_used_ms BIGINT NOT NULL,
    last_used_ip VARCHAR(45) NOT NULL,
    revoked_ms BIGINT NOT NULL,
    rotated_from VARCHAR(32) NOT NULL,
    replaced_by VARCHAR(32) NOT NULL,
    CONSTRAINT pk_api_key PRIMARY KEY (id),
    CONSTRAINT fk_api_key_org_id_org FOREIGN KEY(org_id) REFERENCES org (id),
    CONSTRAINT fk_api_key_user_id_person FOREIGN KEY(user_id) REFERENCES person (id),
    CONSTRAINT uq_api_key_digest UNIQUE (digest)
)
--;
CREATE INDEX ix_api_key_org_id ON api_key (org_id)
--;
CREATE INDEX ix_api_key_user_id ON api_key (user_id)
--;
CREATE TABLE login_session (
    id VARCHAR(32) NOT NULL,
    digest VARCHAR(64) NOT NULL,
    user_id VARCHAR(32) NOT NULL,
    org_id VARCHAR(32) NOT NULL,
    created_ms BIGINT NOT NULL,
    last_seen_ms BIGINT NOT NULL,
    authenticated_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    ip VARCHAR(45) NOT NULL,
    user_agent VARCHAR(200) NOT NULL,
    CONSTRAINT pk_login_session PRIMARY KEY (id),
    CONSTRAINT uq_login_session_digest UNIQUE (digest),
    CONSTRAINT fk_login_session_user_id_person FOREIGN KEY(user_id) REFERENCES person (id),
    CONSTRAINT fk_login_session_org_id_org FOREIGN KEY(org_id) REFERENCES org (id)
)
--;
CREATE INDEX ix_login_session_user_id ON login_session (user_id)
--;
CREATE TABLE external_identity (
    issuer VARCHAR(255) NOT NULL,
    subject VARCHAR(255) NOT NULL,
    user_id VARCHAR(32) NOT NULL,
    email VARCHAR(320) NOT NULL,
    created_ms BIGINT NOT NULL,
    CONSTRAINT pk_external_identity PRIMARY KEY (issuer, subject),
    CONSTRAINT fk_external_identity_user_id_person FOREIGN KEY(user_id) REFERENCES person (id)
)
--;
CREATE INDEX ix_external_identity_user_id ON external_identity (user_id)
--;
CREATE TABLE ledger_transfer (
    id VARCHAR(32) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    debit_wallet INTEGER NOT NULL,
    credit_wallet INTEGER NOT NULL,
    amount BIGINT NOT NULL,
    hold_id VARCHAR(32),
    external_ref VARCHAR(255),
    actor_type VARCHAR(16) DEFAULT 'system' NOT NULL,
    actor_id VARCHAR(64) DEFAULT '' NOT NULL,
    note TEXT DEFAULT '' NOT NULL,
    created_ms BIGINT NOT NULL,
    CONSTRAINT pk_ledger_transfer PRIMARY KEY (id),
    CONSTRAINT ck_ledger_transfer_amount_positive CHECK (amount > 0),
    CONSTRAINT ck_ledger_transfer_two_ends CHECK (debit_wallet <> credit_wallet),
    CONSTRAINT fk_ledger_transfer_debit_wallet_wallet FOREIGN KEY(debit_wallet) REFERENCES wallet (id),
    CONSTRAINT fk_ledger_transfer_credit_wallet_wallet FOREIGN KEY(credit_wallet) REFERENCES wallet (id),
    CONSTRAINT uq_ledger_transfer_hold_id UNIQUE (hold_id)
)
 WITHOUT ROWID
--;
CREATE INDEX ix_ledger_transfer_credit ON ledger_transfer (credit_wallet, id) WHERE credit_wallet >= 0
--;
CREATE INDEX ix_ledger_transfer_debit ON ledger_transfer (debit_wallet, id) WHERE debit_wallet >= 0
--;
CREATE UNIQUE INDEX uq_ledger_transfer_external_ref ON ledger_transfer (external_ref) WHERE external_ref IS NOT NULL
--;
CREATE TRIGGER ledger_transfer_no_update BEFORE UPDATE ON ledger_transfer BEGIN SELECT RAISE(ABORT, 'transfers are never changed'); END
--;
CREATE TRIGGER ledger_transfer_no_delete BEFORE DELETE ON ledger_transfer BEGIN SELECT RAISE(ABORT, 'transfers are never removed'); END
--;
CREATE TABLE hold (
    id VARCHAR(32) NOT NULL,
    wallet_id INTEGER NOT NULL,
    amount BIGINT NOT NULL,
    state VARCHAR(8) DEFAULT 'held' NOT NULL,
    job_id VARCHAR(32) NOT NULL,
    item VARCHAR(64) DEFAULT '' NOT NULL,
    api_key_id VARCHAR(32) DEFAULT '' NOT NULL,
    member_id VARCHAR(32) DEFAULT '' NOT NULL,
    price_version VARCHAR(32) NOT NULL,
    is_capped BOOLEAN DEFAULT false NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    resolved_ms BIGINT,
    reason VARCHAR(64) DEFAULT '' NOT NULL,
    CONSTRAINT pk_hold PRIMARY KEY (id),
    CONSTRAINT ck_hold_amount_not_negative CHECK (amount >= 0),
    CONSTRAINT ck_hold_state_known CHECK (state IN ('held', 'captured', 'voided')),
    CONSTRAINT fk_hold_wallet_id_wallet FOREIGN KEY(wallet_id) REFERENCES wallet (id),
    CONSTRAINT uq_hold_job_id UNIQUE (job_id)
)
 WITHOUT ROWID
--;
CREATE INDEX ix_hold_open ON hold (expires_ms) WHERE state = 'held'
--;
CREATE INDEX ix_hold_wallet ON hold (wallet_id, created_ms)
--;
CREATE TABLE voucher_use (
    code_hash VARCHAR(64) NOT NULL,
    org_id VARCHAR(32) NOT NULL,
    used_ms BIGINT NOT NULL,
    CONSTRAINT pk_voucher_use PRIMARY KEY (code_hash, org_id),
    CONSTRAINT fk_voucher_use_code_hash_voucher FOREIGN KEY(code_hash) REFERENCES voucher (code_hash)
)
--;
CREATE TABLE album_picture (
    album_id VARCHAR(32) NOT NULL,
    picture_id VARCHAR(32) NOT NULL,
    CONSTRAINT pk_album_picture PRIMARY KEY (album_id, picture_id),
    CONSTRAINT fk_album_picture_album_id_album FOREIGN KEY(album_id) REFERENCES album (id) ON DELETE CASCADE,
    CONSTRAINT fk_album_picture_picture_id_picture FOREIGN KEY(picture_id) REFERENCES picture (id) ON DELETE CASCADE
)
--;
CREATE INDEX ix_album_picture_picture_id ON album_picture (picture_id)
--;
CREATE TABLE picture_tag (
    picture_id VARCHAR(32) NOT NULL,
    tag VARCHAR(64) NOT NULL,
    CONSTRAINT pk_picture_tag PRIMARY KEY (picture_id, tag),
    CONSTRAINT fk_picture_tag_picture_id_picture FOREIGN KEY(picture_id) REFERENCES picture (id) ON DELETE CASCADE
)
--;
CREATE INDEX ix_picture_tag_tag ON picture_tag (tag)
--;
CREATE TABLE webhook_delivery (
    id VARCHAR(32) NOT NULL,
    webhook_id VARCHAR(32) NOT NULL,
    event VARCHAR(32) NOT NULL,
    payload TEXT NOT NULL,
    state VARCHAR(16) NOT NULL,
    attempts INTEGER NOT NULL,
    next_ms BIGINT NOT NULL,
    last_status INTEGER NOT NULL,
    last_error TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    finished_ms BIGINT NOT NULL,
    CONSTRAINT pk_webhook_delivery PRIMARY KEY (id),
    CONSTRAINT fk_webhook_delivery_webhook_id_webhook FOREIGN KEY(webhook_id) REFERENCES webhook (id) ON DELETE CASCADE
)
--;
CREATE INDEX ix_webhook_delivery_due ON webhook_delivery (next_ms) WHERE state = 'waiting'
--;
CREATE INDEX ix_webhook_delivery_webhook_id ON webhook_delivery (webhook_id)
--;
CREATE TABLE hold_budget (
    hold_id VARCHAR(32) NOT NULL,
    budget_id INTEGER NOT NULL,
    CONSTRAINT pk_hold_budget PRIMARY KEY (hold_id, budget_id),
    CONSTRAINT fk_hold_budget_hold_id_hold FOREIGN KEY(hold_id) REFERENCES hold (id),
    CONSTRAINT fk_hold_budget_budget_id_budget FOREIGN KEY(budget_id) REFERENCES budget (id)
)
 WITHOUT ROWID
--;
CREATE TABLE lot (
    id VARCHAR(32) NOT NULL,
    wallet_id INTEGER NOT NULL,
    source_transfer VARCHAR(32) NOT NULL,
    category VARCHAR(8) NOT NULL,
    priority INTEGER DEFAULT '0' NOT NULL,
    expires_ms BIGINT,
    amount BIGINT NOT NULL,
    remaining BIGINT NOT NULL,
    held BIGINT DEFAULT '0' NOT NULL,
    CONSTRAINT pk_lot PRIMARY KEY (id),
    CONSTRAINT ck_lot_covered CHECK (held >= 0 AND remaining >= held AND amount >= remaining),
    CONSTRAINT fk_lot_wallet_id_wallet FOREIGN KEY(wallet_id) REFERENCES wallet (id),
    CONSTRAINT fk_lot_source_transfer_ledger_transfer FOREIGN KEY(source_transfer) REFERENCES ledger_transfer (id)
)
--;
CREATE INDEX ix_lot_due ON lot (expires_ms) WHERE remaining > 0 AND expires_ms IS NOT NULL
--;
CREATE INDEX ix_lot_left ON lot (wallet_id) WHERE remaining > 0
--;
CREATE TABLE hold_lot (
    hold_id VARCHAR(32) NOT NULL,
    lot_id VARCHAR(32) NOT NULL,
    amount BIGINT NOT NULL,
    CONSTRAINT pk_hold_lot PRIMARY KEY (hold_id, lot_id),
    CONSTRAINT fk_hold_lot_hold_id_hold FOREIGN KEY(hold_id) REFERENCES hold (id),
    CONSTRAINT fk_hold_lot_lot_id_lot FOREIGN KEY(lot_id) REFERENCES lot (id)
)
 WITHOUT ROWID
