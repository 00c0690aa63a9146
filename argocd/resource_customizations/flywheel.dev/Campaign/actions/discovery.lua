-- What can be done with a Campaign from Argo CD's interface.
local suspended = obj.spec ~= nil and obj.spec.schedule ~= nil and obj.spec.schedule.suspend == true
local stage = (obj.status or {}).stage
local over = stage == "Retired" or obj.metadata.deletionTimestamp ~= nil
local coming, undecided, stopped, warm = false, false, false, false
for _, release in ipairs((obj.status or {}).releases or {}) do
  coming = coming or release.preview ~= nil
  undecided = undecided or release.preview ~= nil or release.phase == "Confirming" or release.phase == "Paused"
  stopped = stopped or release.held ~= nil or release.phase == "Paused"
  warm = warm or release.previous ~= nil
end
return {
  suspend = { disabled = suspended or over, displayName = "Suspend", iconClass = "fa fa-fw fa-pause-circle" },
  resume = { disabled = not suspended or over, displayName = "Resume", iconClass = "fa fa-fw fa-play-circle" },
  promote = { disabled = not coming or over, displayName = "Promote", iconClass = "fa fa-fw fa-check-circle" },
  abort = { disabled = not undecided or over, displayName = "Abort release", iconClass = "fa fa-fw fa-stop-circle" },
  retry = { disabled = not stopped or over, displayName = "Retry release", iconClass = "fa fa-fw fa-redo" },
  rollback = { disabled = not warm or over, displayName = "Roll back", iconClass = "fa fa-fw fa-undo" },
}
