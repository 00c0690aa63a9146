-- Brings the traffic back to every slot that is still warm.
local targets = nil
for _, release in ipairs((obj.status or {}).releases or {}) do
  local target = release.previous ~= nil and release.service or nil
  if target ~= nil then
    -- The version makes this command another than the one before.
    local one = target .. "/" .. obj.metadata.resourceVersion
    targets = targets == nil and one or targets .. "," .. one
  end
end
if targets ~= nil then
  obj.metadata.annotations = obj.metadata.annotations or {}
  obj.metadata.annotations["flywheel.dev/rollback"] = targets
end
return obj
