-- Tries anew what failed, was stopped, or could not be looked at.
local targets = nil
for _, release in ipairs((obj.status or {}).releases or {}) do
  local target = release.held
  if release.phase == "Paused" then
    target = release.preview ~= nil and release.preview.revision or release.active.revision
  end
  if target ~= nil then
    -- The version makes this command another than the one before.
    local one = release.service .. "=" .. target .. "/" .. obj.metadata.resourceVersion
    targets = targets == nil and one or targets .. "," .. one
  end
end
if targets ~= nil then
  obj.metadata.annotations = obj.metadata.annotations or {}
  obj.metadata.annotations["flywheel.dev/retry"] = targets
end
return obj
