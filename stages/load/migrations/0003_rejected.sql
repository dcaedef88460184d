-- Rows that cannot be in RESOURCES, with the reason; their requests are `failed` in REQUESTS.

CREATE TABLE IF NOT EXISTS "REJECTED_ROWS" (
    "ROW_KEY" VARCHAR NOT NULL COMMENT 'The key it would have in RESOURCES; unique here too',
    "MESSAGE_ID" VARCHAR NOT NULL COMMENT 'Message that asked for it',
    "REQUEST_INDEX" INTEGER NOT NULL COMMENT 'Position in api_requests of the message, from 0',
    "SERVICE" VARCHAR NOT NULL COMMENT 'Service name as the message gave it',
    "SUBSCRIPTION_ID" VARCHAR COMMENT 'Lower case; null for tenant-level resources',
    "RESOURCE_ID" VARCHAR COMMENT 'Azure resource id; null for an answer that is no resource',
    "REASON" VARCHAR NOT NULL COMMENT 'Why it cannot be loaded',
    "BODY_BYTES" INTEGER NOT NULL COMMENT 'Size of the body as UTF-8',
    "BODY_DIGEST" VARCHAR NOT NULL COMMENT 'SHA-256 of the body as UTF-8, in hexadecimal',
    "BODY_START" VARCHAR NOT NULL COMMENT 'First characters of the body',
    "ENQUEUED_AT" TIMESTAMP_TZ NOT NULL COMMENT 'When the message was put into the queue',
    "REJECTED_AT" TIMESTAMP_TZ NOT NULL COMMENT 'When it was first set aside',
    "BATCH_ID" VARCHAR NOT NULL COMMENT 'Batch it came with'
) COMMENT = 'azure-collector: one row for each resource that cannot be loaded';
