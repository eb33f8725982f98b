package decode

// What is asked of an event, by its slot in the plan.
const (
	_ = iota // the event itself
	ctEventID
	ctEventTime
	ctSourceIP
	ctEventSource
	ctEventName
	ctReadOnly
	ctErrorCode
	ctRecipient
	ctResources
	_
	ctARN
	ctInvokedBy
	ctPrincipal
	ctCredential
	ctAccount
	ctUserName
	ctAccessKey
	_
	ctOnBehalfOf
	_
	ctSourceIdentity
	_
	ctIssuerARN
	ctIssuerName
	ctParams
	ctRuntimeSession
	ctSession
	ctModel
	ctAgent
	ctAgentRuntime
	_
	ctMCPMethod
	_
	ctMCPName
	ctBucket
	ctKey
	ctName
	ctNames
	_
	ctBytesIn
	ctBytesOut
	_
	ctConsoleLogin
	_
	ctSessionToken
	ctSecretKey
)

//nolint:gosec // names of fields, no credentials
var ctPaths = []string{
	"",
	ctEventID:     "eventID",
	ctEventTime:   "eventTime",
	ctSourceIP:    "sourceIPAddress",
	ctEventSource: "eventSource",
	ctEventName:   "eventName",
	ctReadOnly:    "readOnly",
	ctErrorCode:   "errorCode",
	ctRecipient:   "recipientAccountId",
	ctResources:   "resources",
	"userIdentity",
	ctARN:        "userIdentity.arn",
	ctInvokedBy:  "userIdentity.invokedBy",
	ctPrincipal:  "userIdentity.principalId",
	ctCredential: "userIdentity.credentialId",
	ctAccount:    "userIdentity.accountId",
	ctUserName:   "userIdentity.userName",
	ctAccessKey:  "userIdentity.accessKeyId",
	"userIdentity.onBehalfOf",
	ctOnBehalfOf: "userIdentity.onBehalfOf.userId",
	"userIdentity.sessionContext",
	ctSourceIdentity: "userIdentity.sessionContext.sourceIdentity",
	"userIdentity.sessionContext.sessionIssuer",
	ctIssuerARN:      "userIdentity.sessionContext.sessionIssuer.arn",
	ctIssuerName:     "userIdentity.sessionContext.sessionIssuer.userName",
	ctParams:         "requestParameters",
	ctRuntimeSession: "requestParameters.runtimeSessionId",
	ctSession:        "requestParameters.sessionId",
	ctModel:          "requestParameters.modelId",
	ctAgent:          "requestParameters.agentId",
	ctAgentRuntime:   "requestParameters.agentRuntimeArn",
	"requestParameters.body",
	ctMCPMethod: "requestParameters.body.method",
	"requestParameters.body.params",
	ctMCPName: "requestParameters.body.params.name",
	ctBucket:  "requestParameters.bucketName",
	ctKey:     "requestParameters.key",
	ctName:    "requestParameters.name",
	ctNames:   "requestParameters.names",
	"additionalEventData",
	ctBytesIn:  "additionalEventData.bytesTransferredIn",
	ctBytesOut: "additionalEventData.bytesTransferredOut",
	"responseElements",
	ctConsoleLogin: "responseElements.ConsoleLogin",
	"responseElements.credentials",
	ctSessionToken: "responseElements.credentials.sessionToken",
	ctSecretKey:    "responseElements.credentials.secretAccessKey",
}

var cloudTrailPlan = newPlan(ctPaths)
