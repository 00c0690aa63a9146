-- What can be done with a Campaign from Argo CD's interface.
local suspended = obj.spec ~= nil and obj.spec.schedule ~= nil and obj.spec.schedule.suspend == true
local stage = (obj.status or {}).stage
local over = stage == "Retired" or obj.metadata.deletionTimestamp ~= nil
return {
  suspend = { disabled = suspended or over, displayName = "Suspend", iconClass = "fa fa-fw fa-pause-circle" },
  resume = { disabled = not suspended or over, displayName = "Resume", iconClass = "fa fa-fw fa-play-circle" },
}
