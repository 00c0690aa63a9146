-- Ends every release that is on its way; after the switch the traffic goes back.
local targets = nil
for _, release in ipairs((obj.status or {}).releases or {}) do
  local target = release.preview ~= nil and release.preview.revision or nil
  if target == nil and (release.phase == "Confirming" or release.phase == "Paused") then
    target = release.active.revision
  end
  if target ~= nil then
    -- The version makes this command another than the one before.
    local one = release.service .. "=" .. target .. "/" .. obj.metadata.resourceVersion
    targets = targets == nil and one or targets .. "," .. one
  end
end
if targets ~= nil then
  obj.metadata.annotations = obj.metadata.annotations or {}
  obj.metadata.annotations["flywheel.dev/abort"] = targets
end
return obj
