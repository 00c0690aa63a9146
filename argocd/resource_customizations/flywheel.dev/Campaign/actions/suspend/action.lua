-- Zero replicas until it is resumed; the Campaign's clock goes on.
obj.spec.schedule = obj.spec.schedule or {}
obj.spec.schedule.suspend = true
return obj
