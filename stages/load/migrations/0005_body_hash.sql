-- What was answered as a whole, also where a request keeps less than that. Null in rows from before.

ALTER TABLE "REQUESTS" ADD COLUMN IF NOT EXISTS
    "BODY_HASH" VARCHAR COMMENT 'Digest of all its resources as Azure gave them; null unless complete';
