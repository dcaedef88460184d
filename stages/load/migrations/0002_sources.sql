-- Who answered, and whether for another request: Resource Graph, Microsoft Graph and shared answers
-- stand beside the resource providers. Null in rows from before.

ALTER TABLE "RESOURCES" ADD COLUMN IF NOT EXISTS
    "SOURCE" VARCHAR COMMENT 'Who answered: provider, resource-graph or microsoft-graph';
ALTER TABLE "RESOURCES" ADD COLUMN IF NOT EXISTS
    "CACHED" BOOLEAN COMMENT 'Another request had asked for it';
ALTER TABLE "REQUESTS" ADD COLUMN IF NOT EXISTS
    "SOURCE" VARCHAR COMMENT 'Who gave the last answer; null if nobody did';
ALTER TABLE "REQUESTS" ADD COLUMN IF NOT EXISTS
    "CACHED" BOOLEAN COMMENT 'Another request had asked for it, or it has not changed since';

CREATE OR REPLACE VIEW "RESOURCES_LATEST"
COPY GRANTS
COMMENT = 'azure-collector: the newest row of each RESOURCE_ID'
AS
SELECT
    "ROW_KEY", "MESSAGE_ID", "CORRELATION_ID", "REQUEST_INDEX", "SERVICE", "API_VERSION",
    "SUBSCRIPTION_ID", "RESOURCE_GROUP", "RESOURCE_ID", "RESOURCE_TYPE", "NAME", "LOCATION",
    "BODY", "BODY_HASH", "ENQUEUED_AT", "COLLECTED_AT", "BATCH_ID", "SOURCE", "CACHED"
FROM "RESOURCES"
WHERE "RESOURCE_ID" IS NOT NULL
QUALIFY ROW_NUMBER() OVER (
    PARTITION BY "RESOURCE_ID" ORDER BY "COLLECTED_AT" DESC, "ROW_KEY" DESC
) = 1;
