// Written by `make docs` from the OpenAPI document; edit the server instead.
declare namespace Api {
  interface Accepted {
    message: string;
  }
  interface AccountChange {
    is_staff?: boolean | null;
    is_disabled?: boolean | null;
  }
  interface AccountPage {
    accounts: Array<AccountView>;
    next_before: string;
  }
  interface AccountView {
    id: string;
    email: string;
    name: string;
    org_id: string;
    teams: number;
    is_staff: boolean;
    is_verified: boolean;
    disabled_ms: number;
    created_ms: number;
    credits: string;
  }
  interface ActiveJobView {
    id: string;
    org_id: string;
    kind: string;
    model: string;
    width: number;
    height: number;
    is_running: boolean;
    worker: string;
    age_ms: number;
    cost_ms: number;
  }
  interface Adjusted {
    available: string;
  }
  interface Adjustment {
    org_id: string;
    credits: string;
    note: string;
  }
  interface AlbumName {
    name: string;
  }
  interface AlbumPictures {
    picture_ids: Array<string>;
  }
  interface AlbumView {
    id: string;
    name: string;
    pictures: number;
    created_ms: number;
  }
  interface AuditView {
    id: string;
    at_ms: number;
    actor_kind: string;
    actor_id: string;
    action: string;
    target: string;
    before: string;
    after: string;
    ip: string;
    request_id: string;
  }
  interface BalanceView {
    available: string;
    reserved: string;
    total: string;
    is_unlimited: boolean;
    lots: Array<LotView>;
  }
  interface BooksView {
    checked_ms: number;
    mismatches: number;
    first: Array<string>;
  }
  interface CancelledJob {
    cancelled: boolean;
  }
  interface CapsBody {
    per_request?: string | null;
    per_day?: string | null;
    per_month?: string | null;
    total?: string | null;
  }
  interface CapsView {
    per_request: string | null;
    per_day: string | null;
    per_month: string | null;
    total: string | null;
  }
  interface ChangePassword {
    password: string;
    new_password: string;
  }
  interface Count {
    value: string;
    pictures: number;
  }
  interface CurrentSession {
    csrf_token: string;
    is_recent: boolean;
    user: Me;
  }
  interface Deleted {
    deleted: number;
  }
  interface DeliveryView {
    id: string;
    event: string;
    state: string;
    attempts: number;
    next_ms: number;
    last_status: number;
    last_error: string;
    created_ms: number;
    finished_ms: number;
    payload: Record<string, unknown>;
  }
  interface FacetsView {
    total: number;
    models: Array<Count>;
    sizes: Array<Count>;
    keys: Array<Count>;
    sources: Array<Count>;
  }
  interface HealthView {
    status: string;
    failing: Array<string>;
    degraded: Array<string>;
    version: string;
    started_ms: number;
    database: string;
    disk_free_bytes: number;
    disk_total_bytes: number;
    books: BooksView | null;
    settings: Record<string, boolean | string>;
  }
  interface InvitationView {
    id: string;
    email: string;
    role: "owner" | "admin" | "billing" | "member" | "viewer";
    created_ms: number;
    expires_ms: number;
  }
  interface JobPage {
    jobs: Array<JobView>;
    next_before: string;
  }
  interface JobProblem {
    name: string;
    message: string;
  }
  interface JobView {
    id: string;
    state: "queued" | "running" | "succeeded" | "failed" | "cancelled";
    kind: string;
    service: string;
    model: string;
    attempt: number;
    position: number | null;
    wait_estimate_ms: number | null;
    price: string;
    charged: string;
    filtered: boolean;
    media_type: string;
    width: number;
    height: number;
    seed: number | null;
    error: JobProblem | null;
    created_ms: number;
    started_ms: number;
    finished_ms: number;
  }
  interface Join {
    token: string;
    password: string;
    name?: string;
  }
  interface KeyBody {
    name?: string;
    scopes?: Array<"generate" | "edit" | "upscale" | "graph" | "history:read" | "account:read" | "keys:write" | "admin"> | null;
    caps?: CapsBody;
    rate_limit?: number | null;
    networks?: Array<string>;
    expires_ms?: number;
  }
  interface KeyView {
    id: string;
    user_id: string;
    name: string;
    stub: string;
    scopes: Array<"generate" | "edit" | "upscale" | "graph" | "history:read" | "account:read" | "keys:write" | "admin">;
    caps: CapsView;
    rate_limit: number | null;
    networks: Array<string>;
    is_active: boolean;
    created_ms: number;
    expires_ms: number;
    last_used_ms: number;
    last_used_ip: string;
    revoked_ms: number;
    rotated_from: string;
    replaced_by: string;
  }
  interface LatencyView {
    day: string;
    jobs: number;
    wait_p50_ms: number;
    wait_p95_ms: number;
    total_p50_ms: number;
    total_p95_ms: number;
    total_p99_ms: number;
  }
  interface LimitsView {
    rate_limit: number;
    rate_remaining: number;
    rate_reset_s: number;
    rate_window_s: number;
    jobs: number;
    max_jobs: number;
  }
  interface LotView {
    category: string;
    remaining: string;
    expires_ms: number | null;
  }
  interface MadeKey {
    key: KeyView;
    secret: string;
  }
  interface Me {
    id: string;
    email: string;
    name: string;
    picture_url: string;
    is_verified: boolean;
    has_password: boolean;
    is_staff: boolean;
    organizations: Array<OrganizationView>;
  }
  interface MeChange {
    name: string;
  }
  interface MemberChange {
    role?: "owner" | "admin" | "billing" | "member" | "viewer" | null;
    caps?: CapsBody | null;
  }
  interface MemberView {
    user_id: string;
    email: string;
    name: string;
    role: "owner" | "admin" | "billing" | "member" | "viewer";
    caps: CapsView;
    created_ms: number;
  }
  interface MissingView {
    class_type: string;
    nodes: Array<string>;
    pack: string;
    command: string;
  }
  interface ModelList {
    models: Array<ModelView>;
    pulls: Array<PullView>;
  }
  interface ModelOption {
    name: string;
    title: string;
    runs_on: string;
    price: string;
    is_distilled: boolean;
  }
  interface ModelView {
    name: string;
    title: string;
    kind: "model" | "lora";
    state: "installed" | "missing" | "available";
    origin: string;
    family: string;
    licence: string;
    size_bytes: number;
    is_default: boolean;
    is_loaded: boolean;
  }
  interface Move {
    to: "front" | "back";
  }
  interface NewAccount {
    email: string;
    password: string;
    name?: string;
    is_staff?: boolean;
  }
  interface NewEdit {
    kind: "inpaint" | "erase" | "outpaint";
    image_id: string;
    mask_id?: string | null;
    prompt?: string;
    negative_prompt?: string;
    model?: string;
    strength?: number;
    grow_mask?: number;
    left?: number;
    right?: number;
    up?: number;
    down?: number;
    creativity?: number;
    seed?: number;
    steps?: number | null;
    cfg_scale?: number | null;
    style_preset?: "3d-model" | "analog-film" | "anime" | "cinematic" | "comic-book" | "digital-art" | "enhance" | "fantasy-art" | "isometric" | "line-art" | "low-poly" | "modeling-compound" | "neon-punk" | "origami" | "photographic" | "pixel-art" | "tile-texture" | null;
    output_format?: "png" | "jpeg" | "webp";
    previews?: boolean;
  }
  interface NewEnlargement {
    image_id: string;
    output_format?: "png" | "jpeg" | "webp";
  }
  interface NewInvitation {
    email: string;
    role?: "owner" | "admin" | "billing" | "member" | "viewer";
  }
  interface NewJob {
    prompt: string;
    negative_prompt?: string;
    model?: string;
    aspect_ratio?: "21:9" | "16:9" | "3:2" | "5:4" | "1:1" | "4:5" | "2:3" | "9:16" | "9:21" | null;
    width?: number | null;
    height?: number | null;
    seed?: number;
    steps?: number | null;
    cfg_scale?: number | null;
    sampler?: "euler" | "ddim" | "heun" | "dpm_2" | "lms" | "ipndm" | "ipndm_v" | "deis" | "dpmpp_2m" | "res_multistep" | "gradient_estimation" | "uni_pc" | "uni_pc_bh2" | "euler_ancestral" | "dpm_2_ancestral" | "dpmpp_2s_ancestral" | "dpmpp_sde" | "dpmpp_2m_sde" | "dpmpp_2m_sde_heun" | "dpmpp_3m_sde" | "dpmpp_sde_gpu" | "dpmpp_2m_sde_gpu" | "dpmpp_2m_sde_heun_gpu" | "dpmpp_3m_sde_gpu" | "exp_heun_2_x0" | "exp_heun_2_x0_sde" | "seeds_2" | "er_sde" | "lcm" | null;
    schedule?: "reference" | "trailing" | "simple" | "sgm_uniform" | "normal" | "beta" | "karras" | "exponential" | "kl_optimal" | "ddim_uniform" | "linear_quadratic" | null;
    style_preset?: "3d-model" | "analog-film" | "anime" | "cinematic" | "comic-book" | "digital-art" | "enhance" | "fantasy-art" | "isometric" | "line-art" | "low-poly" | "modeling-compound" | "neon-punk" | "origami" | "photographic" | "pixel-art" | "tile-texture" | null;
    output_format?: "png" | "jpeg" | "webp";
    previews?: boolean;
    image_id?: string | null;
    strength?: number;
  }
  interface NewKey {
    name?: string;
    scopes?: Array<"generate" | "edit" | "upscale" | "graph" | "history:read" | "account:read" | "keys:write" | "admin"> | null;
    caps?: CapsBody;
    rate_limit?: number | null;
    networks?: Array<string>;
    expires_ms?: number;
    user_id?: string;
  }
  interface NewPassword {
    token: string;
    password: string;
  }
  interface NewVoucher {
    credits: string;
    uses?: number;
    days?: number | null;
    is_gift?: boolean;
    note?: string;
  }
  interface NewWebhook {
    url: string;
    events?: Array<"job.succeeded" | "job.failed" | "credits.low" | "key.revoked">;
  }
  interface NodePrice {
    node: string;
    class_type: string;
    service: string;
    price: string;
    why: string;
  }
  interface NoteView {
    id: string;
    org_id: string;
    user_id: string;
    key_id: string;
    request_id: string;
    action: string;
    category: string;
    severity: string;
    span_length: number;
    text_hash: string;
    created_ms: number;
  }
  interface OnlyEmail {
    email: string;
  }
  interface OnlyPassword {
    password: string;
  }
  interface OnlyToken {
    token: string;
  }
  interface Options {
    version: string;
    open_registration: boolean;
    providers: Record<string, string>;
    sells_credits: boolean;
    default_model: string;
    models: Array<ModelOption>;
    aspect_ratios: Array<RatioOption>;
    style_presets: Array<string>;
    enlarge_price: string;
    edit_prices: Record<string, string>;
    steps_included: number;
    max_steps: number;
  }
  interface OrgName {
    name: string;
  }
  interface OrganizationView {
    id: string;
    name: string;
    kind: "personal" | "team";
    role: "owner" | "admin" | "billing" | "member" | "viewer";
    is_default: boolean;
  }
  interface PackView {
    name: string;
    version: string;
    about: string;
    classes: Array<string>;
    state: string;
    command: string;
  }
  interface Pause {
    is_paused: boolean;
  }
  interface PaymentPage {
    url: string;
  }
  interface PaymentStatus {
    status: string;
  }
  interface PictureChange {
    favourite?: boolean | null;
    tags?: Array<string> | null;
  }
  interface PicturePage {
    pictures: Array<PictureView>;
    next_cursor: string;
  }
  interface PictureView {
    id: string;
    job_id: string;
    user_id: string;
    prompt: string;
    negative_prompt: string;
    model: string;
    requested_model: string;
    kind: string;
    service: string;
    seed: number;
    width: number;
    height: number;
    media_type: string;
    size_bytes: number;
    filtered: boolean;
    price: string;
    favourite: boolean;
    key_id: string;
    source: "studio" | "api" | "graph";
    tags: Array<string>;
    created_ms: number;
  }
  interface PolicyChange {
    actions: Record<string, string>;
  }
  interface PolicyLine {
    category: string;
    label: string;
    action: "block" | "review" | "allow";
    is_locked: boolean;
  }
  interface PriceView {
    version: string;
    credits: Record<string, string>;
  }
  interface PullView {
    name: string;
    state: "running" | "done" | "failed" | "stopped";
    file: string;
    file_number: number;
    files: number;
    expected_bytes: number;
    arrived_bytes: number;
    problem: string;
  }
  interface Purchase {
    credits: number;
  }
  interface QueueView {
    is_paused: boolean;
    running: number;
    waiting: number;
    wait_ms: number;
    jobs: Array<ActiveJobView>;
  }
  interface RatioOption {
    name: string;
    width: number;
    height: number;
  }
  interface ReceiptPage {
    receipts: Array<ReceiptView>;
    next_before: string;
  }
  interface ReceiptView {
    id: string;
    org_id: string;
    provider: string;
    credits: string;
    money: string;
    currency: string;
    status: string;
    taken_back: string;
    is_automatic: boolean;
    created_ms: number;
  }
  interface RechargeBody {
    enabled: boolean;
    threshold: string;
    amount: string;
    monthly_cap: string;
  }
  interface RechargeView {
    enabled: boolean;
    threshold: string;
    amount: string;
    monthly_cap: string;
    has_card: boolean;
    failures: number;
  }
  interface RecipeView {
    recipe: Record<string, unknown>;
  }
  interface Redeemed {
    added: string;
    available: string;
  }
  interface Redemption {
    code: string;
  }
  interface Refunded {
    taken_back: string;
  }
  interface ReviewView {
    id: string;
    org_id: string;
    user_id: string;
    request_id: string;
    category: string;
    severity: string;
    text: string;
    state: string;
    decided_by: string;
    note: string;
    decided_ms: number;
    created_ms: number;
  }
  interface Rotation {
    overlap_s?: number;
  }
  interface SecretValue {
    value: string;
  }
  interface SecretView {
    name: string;
    created_ms: number;
  }
  interface Selected {
    picture_ids: Array<string>;
  }
  interface SelectionChange {
    picture_ids: Array<string>;
    favourite?: boolean | null;
    add_tags?: Array<string>;
    remove_tags?: Array<string>;
  }
  interface SessionView {
    id: string;
    org_id: string;
    is_current: boolean;
    created_ms: number;
    last_seen_ms: number;
    expires_ms: number;
    ip: string;
    user_agent: string;
  }
  interface SetUp {
    token: string;
    email: string;
    password: string;
    name?: string;
  }
  interface SignIn {
    email: string;
    password: string;
  }
  interface SignUp {
    email: string;
    password: string;
    name?: string;
  }
  interface SubmittedJob {
    id: string;
  }
  interface TagView {
    tag: string;
    pictures: number;
  }
  interface Taken {
    received?: boolean;
  }
  interface TransferPage {
    transfers: Array<TransferView>;
    next_before: string;
  }
  interface TransferView {
    id: string;
    kind: string;
    amount: string;
    note: string;
    item: string;
    job_id: string;
    key_id: string;
    price_version: string;
    created_ms: number;
  }
  interface UploadView {
    id: string;
    width: number;
    height: number;
    expires_ms: number;
  }
  interface UsageLine {
    group: string;
    requests: number;
    pictures: number;
    failed: number;
    filtered: number;
    credits: string;
    compute_seconds: number;
  }
  interface UsageReport {
    by: "day" | "key" | "member" | "service" | "model" | "outcome";
    lines: Array<UsageLine>;
  }
  interface Verdict {
    decision: "approved" | "rejected";
    note?: string;
  }
  interface VoucherCode {
    code: string;
  }
  interface VoucherView {
    credits: string;
    category: string;
    uses: number;
    used: number;
    expires_ms: number | null;
    note: string;
    created_ms: number;
  }
  interface Wanted {
    t5?: "fp16" | "fp8" | "none";
  }
  interface WebhookChange {
    url?: string | null;
    events?: Array<"job.succeeded" | "job.failed" | "credits.low" | "key.revoked"> | null;
    enabled?: boolean | null;
  }
  interface WebhookView {
    id: string;
    url: string;
    events: Array<string>;
    enabled: boolean;
    failures: number;
    created_ms: number;
  }
  interface WebhookWithSecret {
    webhook: WebhookView;
    secret: string;
  }
  interface WorkerView {
    name: string;
    device: string;
    models: Array<string>;
    running: Array<string>;
    free_slots: number;
    is_ready: boolean;
    memory_bytes: number;
    accelerator_bytes: number;
  }
  interface WorkflowPicture {
    node: string;
    filename: string;
    type: string;
    media_type?: string;
    url: string;
    image?: string;
  }
  interface WorkflowPrice {
    price: string;
    lines: Array<NodePrice>;
    pictures: number;
    pixel_steps: number;
    left_out: Array<string>;
  }
  interface WorkflowRun {
    id: string;
    job_id: string;
    status: string;
    price: string;
    charged: string;
    pictures?: Array<WorkflowPicture>;
    shown?: Record<string, unknown>;
    error?: string;
    left_out?: Array<string>;
  }
  /** What each operation answers. */
  interface Answers {
    "GET /api/admin/accounts": AccountPage;
    "POST /api/admin/accounts": AccountView;
    "PATCH /api/admin/accounts/{user_id}": null;
    "GET /api/admin/audit": Array<AuditView>;
    "GET /api/admin/health": HealthView;
    "GET /api/admin/models": ModelList;
    "DELETE /api/admin/models/{name}": null;
    "POST /api/admin/models/{name}/pull": PullView;
    "DELETE /api/admin/models/{name}/pull": null;
    "GET /api/admin/queue": QueueView;
    "PUT /api/admin/queue/pause": null;
    "DELETE /api/admin/queue/{job_id}": null;
    "POST /api/admin/queue/{job_id}/move": null;
    "GET /api/admin/vouchers": Array<VoucherView>;
    "POST /api/admin/vouchers": VoucherCode;
    "GET /api/admin/workers": Array<WorkerView>;
    "GET /api/credits": BalanceView;
    "POST /api/credits/checkout": PaymentPage;
    "GET /api/credits/prices": PriceView;
    "GET /api/credits/receipts": ReceiptPage;
    "POST /api/credits/receipts/{payment_id}/confirm": PaymentStatus;
    "GET /api/credits/recharge": RechargeView;
    "PUT /api/credits/recharge": RechargeView;
    "GET /api/credits/transfers": TransferPage;
    "POST /api/credits/vouchers": Redeemed;
    "POST /api/edits": SubmittedJob;
    "POST /api/enlargements": SubmittedJob;
    "GET /api/gallery": PicturePage;
    "GET /api/gallery/albums": Array<AlbumView>;
    "POST /api/gallery/albums": AlbumView;
    "PATCH /api/gallery/albums/{album_id}": null;
    "DELETE /api/gallery/albums/{album_id}": null;
    "POST /api/gallery/albums/{album_id}/pictures": null;
    "DELETE /api/gallery/albums/{album_id}/pictures/{picture_id}": null;
    "POST /api/gallery/archives": unknown;
    "POST /api/gallery/changes": null;
    "POST /api/gallery/deletions": Deleted;
    "GET /api/gallery/facets": FacetsView;
    "GET /api/gallery/tags": Array<TagView>;
    "GET /api/gallery/{picture_id}": PictureView;
    "PATCH /api/gallery/{picture_id}": PictureView;
    "DELETE /api/gallery/{picture_id}": null;
    "GET /api/gallery/{picture_id}/image": unknown;
    "GET /api/gallery/{picture_id}/recipe": RecipeView;
    "GET /api/gallery/{picture_id}/thumbnail": unknown;
    "GET /api/jobs": JobPage;
    "POST /api/jobs": SubmittedJob;
    "GET /api/jobs/{job_id}": JobView;
    "DELETE /api/jobs/{job_id}": CancelledJob;
    "GET /api/jobs/{job_id}/events": unknown;
    "GET /api/jobs/{job_id}/image": unknown;
    "GET /api/jobs/{job_id}/result": unknown;
    "POST /api/join": CurrentSession;
    "GET /api/keys": Array<KeyView>;
    "POST /api/keys": MadeKey;
    "GET /api/keys/{key_id}": KeyView;
    "PATCH /api/keys/{key_id}": KeyView;
    "DELETE /api/keys/{key_id}": null;
    "POST /api/keys/{key_id}/rotate": MadeKey;
    "GET /api/me": Me;
    "PATCH /api/me": Me;
    "GET /api/moderation/policy": Array<PolicyLine>;
    "PUT /api/moderation/policy": Array<PolicyLine>;
    "GET /api/moderation/reviews": Array<ReviewView>;
    "POST /api/moderation/reviews/{review_id}": ReviewView;
    "GET /api/moderation/trail": Array<NoteView>;
    "POST /api/nodes/missing": Array<MissingView>;
    "GET /api/nodes/packs": Array<PackView>;
    "GET /api/options": Options;
    "GET /api/orgs": Array<OrganizationView>;
    "POST /api/orgs": OrganizationView;
    "POST /api/orgs/accept": CurrentSession;
    "PATCH /api/orgs/current": null;
    "DELETE /api/orgs/current": null;
    "GET /api/orgs/current/audit": Array<AuditView>;
    "GET /api/orgs/current/invitations": Array<InvitationView>;
    "POST /api/orgs/current/invitations": InvitationView;
    "DELETE /api/orgs/current/invitations/{invitation_id}": null;
    "GET /api/orgs/current/members": Array<MemberView>;
    "PATCH /api/orgs/current/members/{user_id}": null;
    "DELETE /api/orgs/current/members/{user_id}": null;
    "POST /api/orgs/switch/{org_id}": CurrentSession;
    "POST /api/password/change": CurrentSession;
    "POST /api/password/new": null;
    "POST /api/password/prove": CurrentSession;
    "POST /api/password/reset": Accepted;
    "POST /api/payments/stripe/webhook": Taken;
    "GET /api/secrets": Array<SecretView>;
    "PUT /api/secrets/{name}": null;
    "DELETE /api/secrets/{name}": null;
    "GET /api/session": CurrentSession;
    "GET /api/sessions": Array<SessionView>;
    "DELETE /api/sessions/{session_id}": null;
    "POST /api/set-up": CurrentSession;
    "GET /api/sign-in": Record<string, string>;
    "POST /api/sign-in": CurrentSession;
    "GET /api/sign-in/{provider}": null;
    "GET /api/sign-in/{provider}/callback": null;
    "POST /api/sign-in/{provider}/connect": Record<string, string>;
    "POST /api/sign-out": null;
    "POST /api/sign-out/everywhere": null;
    "POST /api/sign-up": Accepted;
    "GET /api/status": Record<string, unknown>;
    "POST /api/treasury/adjustments": Adjusted;
    "GET /api/treasury/payments": ReceiptPage;
    "POST /api/treasury/payments/{payment_id}/refund": Refunded;
    "POST /api/uploads": UploadView;
    "GET /api/uploads/{upload_id}/image": unknown;
    "GET /api/usage": UsageReport;
    "GET /api/usage.csv": unknown;
    "GET /api/usage/latency": Array<LatencyView>;
    "GET /api/usage/limits": LimitsView;
    "POST /api/verify": null;
    "POST /api/verify/again": Accepted;
    "GET /api/webhooks": Array<WebhookView>;
    "POST /api/webhooks": WebhookWithSecret;
    "PATCH /api/webhooks/{webhook_id}": WebhookView;
    "DELETE /api/webhooks/{webhook_id}": null;
    "GET /api/webhooks/{webhook_id}/deliveries": Array<DeliveryView>;
    "POST /api/webhooks/{webhook_id}/deliveries/{delivery_id}": DeliveryView;
    "POST /api/webhooks/{webhook_id}/ping": DeliveryView;
    "POST /api/webhooks/{webhook_id}/secret": WebhookWithSecret;
    "GET /healthz": Record<string, string>;
    "GET /metrics": Blob;
    "GET /proxy/stability/v2beta/results/{id}": { image: string; result: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /proxy/stability/v2beta/stable-image/control/sketch": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /proxy/stability/v2beta/stable-image/control/structure": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /proxy/stability/v2beta/stable-image/control/style": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /proxy/stability/v2beta/stable-image/control/style-transfer": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /proxy/stability/v2beta/stable-image/edit/erase": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /proxy/stability/v2beta/stable-image/edit/inpaint": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /proxy/stability/v2beta/stable-image/edit/outpaint": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /proxy/stability/v2beta/stable-image/edit/remove-background": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /proxy/stability/v2beta/stable-image/edit/replace-background-and-relight": { id: string; };
    "POST /proxy/stability/v2beta/stable-image/edit/search-and-recolor": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /proxy/stability/v2beta/stable-image/edit/search-and-replace": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /proxy/stability/v2beta/stable-image/generate/core": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /proxy/stability/v2beta/stable-image/generate/sd3": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /proxy/stability/v2beta/stable-image/generate/ultra": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /proxy/stability/v2beta/stable-image/upscale/conservative": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /proxy/stability/v2beta/stable-image/upscale/creative": { id: string; };
    "GET /proxy/stability/v2beta/stable-image/upscale/creative/result/{id}": { image: string; result: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /proxy/stability/v2beta/stable-image/upscale/fast": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "GET /readyz": unknown;
    "GET /startupz": unknown;
    "GET /v1/engines/list": Array<{ id: string; name: string; description: string; type: string; }>;
    "POST /v1/generation/{engine_id}/image-to-image": { artifacts: Array<{ base64: string; seed: number; finishReason: "SUCCESS" | "ERROR" | "CONTENT_FILTERED"; }>; };
    "POST /v1/generation/{engine_id}/image-to-image/masking": { artifacts: Array<{ base64: string; seed: number; finishReason: "SUCCESS" | "ERROR" | "CONTENT_FILTERED"; }>; };
    "POST /v1/generation/{engine_id}/image-to-image/upscale": { artifacts: Array<{ base64: string; seed: number; finishReason: "SUCCESS" | "ERROR" | "CONTENT_FILTERED"; }>; };
    "POST /v1/generation/{engine_id}/text-to-image": { artifacts: Array<{ base64: string; seed: number; finishReason: "SUCCESS" | "ERROR" | "CONTENT_FILTERED"; }>; };
    "POST /v1/images/edits": { created: number; data: Array<{ b64_json?: string; url?: string; }>; output_format?: string; size?: string; };
    "GET /v1/images/files/{token}": unknown;
    "POST /v1/images/generations": { created: number; data: Array<{ b64_json?: string; url?: string; }>; output_format?: string; size?: string; };
    "GET /v1/models": { object: "list"; data: Array<{ id: string; object: "model"; created: number; owned_by: string; }>; };
    "GET /v1/models/{model}": { id: string; object: "model"; created: number; owned_by: string; };
    "GET /v1/user/account": { id: string; email: string; organizations: Array<{ id: string; name: string; role: "ADMIN" | "MEMBER"; is_default: boolean; }>; profile_picture?: string; };
    "GET /v1/user/balance": { credits: number; };
    "POST /v1/workflows/run": WorkflowRun | WorkflowPrice;
    "GET /v1/workflows/runs/{run_id}": WorkflowRun;
    "GET /v1/workflows/runs/{run_id}/events": unknown;
    "GET /v1/workflows/runs/{run_id}/pictures/{place}": unknown;
    "GET /v2beta/results/{id}": { image: string; result: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /v2beta/stable-image/control/sketch": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /v2beta/stable-image/control/structure": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /v2beta/stable-image/control/style": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /v2beta/stable-image/control/style-transfer": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /v2beta/stable-image/edit/erase": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /v2beta/stable-image/edit/inpaint": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /v2beta/stable-image/edit/outpaint": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /v2beta/stable-image/edit/remove-background": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /v2beta/stable-image/edit/replace-background-and-relight": { id: string; };
    "POST /v2beta/stable-image/edit/search-and-recolor": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /v2beta/stable-image/edit/search-and-replace": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /v2beta/stable-image/generate/core": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /v2beta/stable-image/generate/sd3": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /v2beta/stable-image/generate/ultra": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /v2beta/stable-image/upscale/conservative": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /v2beta/stable-image/upscale/creative": { id: string; };
    "GET /v2beta/stable-image/upscale/creative/result/{id}": { image: string; result: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
    "POST /v2beta/stable-image/upscale/fast": { image: string; finish_reason: "SUCCESS" | "CONTENT_FILTERED"; seed: number; };
  }
}
