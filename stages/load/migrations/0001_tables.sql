-- What azure-collector writes. Every column name is quoted: ROWS is a reserved word in Snowflake.
-- Like every migration it may be run again, and by two at once, without harm.

CREATE TABLE IF NOT EXISTS "AZURE_COLLECTOR_MIGRATIONS" (
    "VERSION" INTEGER NOT NULL COMMENT 'Number of the migration',
    "NAME" VARCHAR NOT NULL COMMENT 'What it is about',
    "APPLIED_AT" TIMESTAMP_TZ NOT NULL COMMENT 'When it was first applied here',
    "APPLIED_BY" VARCHAR NOT NULL COMMENT 'Version of azure-collector that did'
) COMMENT = 'azure-collector: how far the tables beside it are';

CREATE TABLE IF NOT EXISTS "RESOURCES" (
    "ROW_KEY" VARCHAR NOT NULL COMMENT 'The same however often a message is delivered; unique',
    "MESSAGE_ID" VARCHAR NOT NULL COMMENT 'Message that asked for it',
    "CORRELATION_ID" VARCHAR COMMENT 'As the message gave it',
    "REQUEST_INDEX" INTEGER NOT NULL COMMENT 'Position in api_requests of the message, from 0',
    "SERVICE" VARCHAR NOT NULL COMMENT 'Service name as the message gave it',
    "API_VERSION" VARCHAR NOT NULL COMMENT 'Azure API version it was read with',
    "SUBSCRIPTION_ID" VARCHAR COMMENT 'Lower case; null for tenant-level resources',
    "RESOURCE_GROUP" VARCHAR COMMENT 'Resource group',
    "RESOURCE_ID" VARCHAR COMMENT 'Azure resource id; null for an answer that is no resource',
    "RESOURCE_TYPE" VARCHAR COMMENT 'For example Microsoft.Compute/virtualMachines',
    "NAME" VARCHAR COMMENT 'Resource name',
    "LOCATION" VARCHAR COMMENT 'Azure region',
    "BODY" VARIANT COMMENT 'The resource as Azure gave it',
    "BODY_HASH" VARCHAR COMMENT 'Digest of the body, to find what changed',
    "ENQUEUED_AT" TIMESTAMP_TZ NOT NULL COMMENT 'When the message was put into the queue',
    "COLLECTED_AT" TIMESTAMP_TZ NOT NULL COMMENT 'When Azure answered',
    "BATCH_ID" VARCHAR NOT NULL COMMENT 'Batch it was loaded with'
) COMMENT = 'azure-collector: one row for each resource collected';

CREATE TABLE IF NOT EXISTS "REQUESTS" (
    "MESSAGE_ID" VARCHAR NOT NULL COMMENT 'Message; unique with REQUEST_INDEX',
    "REQUEST_INDEX" INTEGER NOT NULL COMMENT 'Position in api_requests of the message, from 0',
    "CORRELATION_ID" VARCHAR COMMENT 'As the message gave it',
    "SERVICE" VARCHAR NOT NULL COMMENT 'Service name as the message gave it',
    "METHOD" VARCHAR NOT NULL COMMENT 'GET, HEAD or POST',
    "API_VERSION" VARCHAR NOT NULL COMMENT 'Azure API version asked for',
    "URL" VARCHAR NOT NULL COMMENT 'As asked',
    "SUBSCRIPTION_ID" VARCHAR COMMENT 'Lower case; null for tenant-level requests',
    "OUTCOME" VARCHAR NOT NULL COMMENT 'complete, not_found, forbidden, rejected, throttled or failed',
    "STATUS_CODE" INTEGER COMMENT 'Last HTTP status',
    "ERROR_CODE" VARCHAR COMMENT 'Code Azure gave',
    "ERROR_MESSAGE" VARCHAR COMMENT 'Text Azure gave',
    "PAGES" INTEGER NOT NULL COMMENT 'Pages read',
    "ROWS" INTEGER NOT NULL COMMENT 'Rows of RESOURCES it has; 0 unless complete',
    "ATTEMPTS" INTEGER NOT NULL COMMENT 'HTTP calls made, retries and pages included',
    "LATENCY_MS" INTEGER NOT NULL COMMENT 'First call sent to last answer read, waits included',
    "AZURE_REQUEST_ID" VARCHAR COMMENT 'x-ms-request-id of the last answer',
    "DEQUEUE_COUNT" INTEGER NOT NULL COMMENT 'Deliveries of the message so far',
    "STARTED_AT" TIMESTAMP_TZ NOT NULL COMMENT 'First call',
    "COMPLETED_AT" TIMESTAMP_TZ NOT NULL COMMENT 'Last answer',
    "BATCH_ID" VARCHAR NOT NULL COMMENT 'Batch it was loaded with'
) COMMENT = 'azure-collector: one row for each API request of every message';

CREATE VIEW IF NOT EXISTS "RESOURCES_LATEST"
COMMENT = 'azure-collector: the newest row of each RESOURCE_ID'
AS
SELECT
    "ROW_KEY", "MESSAGE_ID", "CORRELATION_ID", "REQUEST_INDEX", "SERVICE", "API_VERSION",
    "SUBSCRIPTION_ID", "RESOURCE_GROUP", "RESOURCE_ID", "RESOURCE_TYPE", "NAME", "LOCATION",
    "BODY", "BODY_HASH", "ENQUEUED_AT", "COLLECTED_AT", "BATCH_ID"
FROM "RESOURCES"
WHERE "RESOURCE_ID" IS NOT NULL
QUALIFY ROW_NUMBER() OVER (
    PARTITION BY "RESOURCE_ID" ORDER BY "COLLECTED_AT" DESC, "ROW_KEY" DESC
) = 1;
