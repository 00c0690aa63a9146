-- Health of a Campaign, from its conditions. Uses nothing of Lua's string library: Argo CD loads it only when told to.
local function condition(kind)
  for _, each in ipairs((obj.status or {}).conditions or {}) do
    if each.type == kind then
      return each
    end
  end
  return {}
end

local function health(status, message)
  return { status = status, message = message or "" }
end

local blocked = condition("TeardownBlocked")
if obj.metadata.deletionTimestamp ~= nil then
  if blocked.status == "True" then
    return health("Degraded", blocked.message)
  end
  return health("Progressing", "The Campaign is being torn down")
end
if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return health("Progressing", "Waiting for the operator to see this version of the Campaign")
end

if blocked.status == "True" then
  return health("Degraded", blocked.message)
end
local stalled = condition("Stalled")
if stalled.status == "True" then
  return health("Degraded", stalled.message)
end
local suspended = condition("Suspended")
if suspended.status == "True" then
  return health("Suspended", suspended.message)
end
-- A release that waits for a person or for its window holds nothing up, and is not done.
local released = condition("Released")
if released.status == "Unknown" and (released.reason == "AwaitingPromotion" or released.reason == "GateInconclusive") then
  return health("Suspended", released.message)
end
-- A Campaign that waits for its start is ready: Scheduled must not hold up a sync for months.
local ready = condition("Ready")
if ready.status == "True" then
  return health("Healthy", ready.message)
end
local reconciling = condition("Reconciling")
return health("Progressing", reconciling.message or ready.message or "The operator has not said anything yet")
