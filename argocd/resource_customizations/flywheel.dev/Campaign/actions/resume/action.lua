obj.spec.schedule = obj.spec.schedule or {}
obj.spec.schedule.suspend = false
return obj
