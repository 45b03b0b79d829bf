// Takes single values out of recipes that others wrote: of the right kind and of a bounded size, or empty.
export const text = (value) => (typeof value === "string" ? value.slice(0, 10_000) : "");
export const whole = (value) => (Number.isFinite(Number(value)) && Number(value) > 0 ? Math.round(Number(value)) : 0);
export const amount = (value) => (value !== undefined && value !== "" && Number.isFinite(Number(value)) ? Number(value) : "");
export const digits = (value) => (/^\d{1,20}$/.test(String(value)) ? String(value) : "");
/** Parse JSON whose seeds may be larger than a number can hold; such seeds become texts. */
export const parsed = (json) => JSON.parse(json.replace(/"(seed|noise_seed)":\s*(\d{16,})/g, '"$1":"$2"'));
